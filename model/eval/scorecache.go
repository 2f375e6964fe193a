package eval

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/shaders"
	"github.com/vkcome/vkcome/vk"
)

// DefaultCache is the folder where scores are kept: vkcome/eval in the user's cache folder, "" where there is none.
func DefaultCache() string {
	base, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(base, "vkcome", "eval")
}

// scoresFormat changes when the same model, device and shaders come to give other scores.
const scoresFormat = 1

// ScoreCache keeps scores of a model's sequences in files, so that a run that was killed goes on where it was.
//
// The files are in the folder DIR/MODEL-NUMERICS: the model's hash, and that of what else a score's last bits depend on: device, driver,
// tier, shaders and forced kernels. Every run that has new scores adds a file of its own, so runs at the same time do not meet; what they read is all files.
// A file is records of 48 bytes: SHA-256 of the number of scored tokens and of the tokens, each 4 bytes; log-likelihood as float64; 1 if
// greedy, else 0, in 4 bytes; CRC-32 (IEEE) of all before. All is little-endian. A record that is torn or damaged does not count.
type ScoreCache struct {
	dir    string
	mu     sync.Mutex
	scores map[scoreKey]run.Score
	file   *files.File
}

type scoreKey [sha256.Size]byte

const recordSize = sha256.Size + 8 + 4 + 4

// OpenScoreCache opens the scores of m on d below dir. hash is model.Hash of the model's files.
func OpenScoreCache(ctx context.Context, dir, hash string, d *vk.Device) (*ScoreCache, error) {
	on := []any{scoresFormat, d.Info.Name, d.Info.Driver, d.Info.DriverVersion, d.Tier.String(), shaders.Hash()}
	forced, err := op.KernelsOf(d)
	if err != nil {
		return nil, err
	}
	if len(forced) > 0 { // which add up in another order
		on = append(on, forced)
	}
	numerics, err := json.Marshal(on)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(numerics)
	c := &ScoreCache{dir: filepath.Join(dir, hash+"-"+hex.EncodeToString(sum[:8])), scores: map[scoreKey]run.Score{}}
	names, err := fs.Glob(os.DirFS(c.dir), "scores-*.bin")
	if err != nil {
		return nil, fmt.Errorf("eval: cache %s: %w", c.dir, err)
	}
	for _, name := range names {
		if err := errors.Join(ctx.Err(), c.read(filepath.Join(c.dir, name))); err != nil {
			return nil, fmt.Errorf("eval: cache %s: %w", c.dir, err)
		}
	}
	return c, nil
}

// maxScores bounds a file of scores: 89 million, which no run has.
const maxScores = 4 << 30

func (c *ScoreCache) read(name string) error {
	f, err := files.Open(name, maxScores)
	if err != nil {
		return err
	}
	defer f.Close()
	return readScores(bufio.NewReaderSize(f, 1<<16), c.scores)
}

// readScores reads records up to the end, or to one that is torn. A record that is damaged, or of a score that there cannot be, does not count.
func readScores(from io.Reader, scores map[scoreKey]run.Score) error {
	u, r := binary.LittleEndian, make([]byte, recordSize)
	for {
		if _, err := io.ReadFull(from, r); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
		greedy, loglikelihood := u.Uint32(r[40:]), math.Float64frombits(u.Uint64(r[32:]))
		if u.Uint32(r[44:]) != crc32.ChecksumIEEE(r[:44]) || greedy > 1 || math.IsNaN(loglikelihood) || math.IsInf(loglikelihood, 0) {
			continue
		}
		scores[scoreKey(r)] = run.Score{LogLikelihood: loglikelihood, Greedy: greedy == 1}
	}
}

func keyOf(q run.Sequence) scoreKey {
	raw := binary.LittleEndian.AppendUint32(make([]byte, 0, 4*len(q.Tokens)+4), uint32(q.Scored))
	for _, t := range q.Tokens {
		raw = binary.LittleEndian.AppendUint32(raw, t)
	}
	return sha256.Sum256(raw)
}

// Get gives a sequence's score, if it is known. Of a nil ScoreCache none is.
func (c *ScoreCache) Get(q run.Sequence) (run.Score, bool) {
	if c == nil {
		return run.Score{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.scores[keyOf(q)]
	return s, ok
}

// Put keeps the scores of a group. A nil ScoreCache keeps none.
func (c *ScoreCache) Put(group []run.Sequence, scores []run.Score) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	u := binary.LittleEndian
	records := make([]byte, 0, len(group)*recordSize)
	for i, q := range group {
		key, s := keyOf(q), scores[i]
		c.scores[key] = s
		begin := len(records)
		records = u.AppendUint64(append(records, key[:]...), math.Float64bits(s.LogLikelihood))
		greedy := uint32(0)
		if s.Greedy {
			greedy = 1
		}
		records = u.AppendUint32(records, greedy)
		records = u.AppendUint32(records, crc32.ChecksumIEEE(records[begin:]))
	}
	if c.file == nil {
		if err := files.MkdirAll(c.dir, 0o755); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
		f, err := files.CreateTemp(c.dir, "scores-*.bin")
		if err != nil {
			return fmt.Errorf("cache: %w", err)
		}
		c.file = f
	}
	if _, err := c.file.Write(records); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	return nil
}

// Close closes the run's file.
func (c *ScoreCache) Close() error {
	if c == nil || c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}
