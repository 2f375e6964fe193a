package eval

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/vkcome/vkcome/model/files/filestest"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// record is one of a file of scores.
func record(loglikelihood float64, greedy uint32) []byte {
	r := binary.LittleEndian.AppendUint64(make([]byte, 32), math.Float64bits(loglikelihood))
	r = binary.LittleEndian.AppendUint32(r, greedy)
	return binary.LittleEndian.AppendUint32(r, crc32.ChecksumIEEE(r))
}

// TestScoreFlips changes every bit of a record: it does not count. Nor do those of scores that there cannot be.
func TestScoreFlips(t *testing.T) {
	read := func(raw []byte) int {
		scores := map[scoreKey]run.Score{}
		if err := readScores(bytes.NewReader(raw), scores); err != nil {
			t.Fatal(err)
		}
		return len(scores)
	}
	good := record(-1.5, 1)
	if n := read(good); n != 1 {
		t.Fatalf("%d scores", n)
	}
	for bit := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if n := read(bad); n != 0 {
			t.Fatalf("bit %d: %d scores", bit, n)
		}
	}
	for _, bad := range [][]byte{record(math.NaN(), 0), record(math.Inf(-1), 0), record(-1, 2), good[:47]} {
		if n := read(bad); n != 0 {
			t.Errorf("%x: %d scores", bad, n)
		}
	}
	d := vktest.Open(t, vk.Options{})
	dir := t.TempDir()
	c, err := OpenScoreCache(context.Background(), dir, "hash", d)
	if err != nil {
		t.Fatal(err)
	}
	if !filestest.PipesInFolders {
		return
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	filestest.Pipe(t, filepath.Join(c.dir, "scores-1.bin"))
	if _, err := OpenScoreCache(context.Background(), dir, "hash", d); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a pipe as a file of scores: %v", err)
	}
}

// FuzzScoreCache reads files of scores: all that counts is finite.
func FuzzScoreCache(f *testing.F) {
	f.Add(append(record(-1.5, 1), record(-2, 0)...))
	f.Add(record(math.NaN(), 0))
	f.Add(record(-1, 7))
	f.Add(record(math.Inf(1), 1)[:40])
	f.Fuzz(func(t *testing.T, raw []byte) {
		scores := map[scoreKey]run.Score{}
		if err := readScores(bytes.NewReader(raw), scores); err != nil || len(scores) > len(raw)/recordSize {
			t.Errorf("%d scores of %d bytes, %v", len(scores), len(raw), err)
		}
		for _, s := range scores {
			if s.LogLikelihood-s.LogLikelihood != 0 {
				t.Errorf("%v", s)
			}
		}
	})
}
