// Package corpus turns token ids and text into the windows of tokens that models are scored and evaluated on.
package corpus

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/vkcome/vkcome/model/tokenizer"
)

// ReadTokens reads a JSON array of token ids.
func ReadTokens(path string) ([]uint32, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var tokens []uint32
	if err := json.Unmarshal(raw, &tokens); err != nil {
		return nil, fmt.Errorf("%s: expected a JSON array of token ids: %w", path, err)
	}
	return tokens, nil
}

// ReadText reads plain UTF-8 files, joins them by a blank line, and encodes the whole, with a BOS in front where the tokenizer adds
// one.
func ReadText(t tokenizer.Tokenizer, paths ...string) ([]uint32, error) {
	var texts []string
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if !utf8.Valid(raw) {
			return nil, fmt.Errorf("%s: not UTF-8 text", path)
		}
		texts = append(texts, string(raw))
	}
	return Encode(t, strings.Join(texts, "\n\n")), nil
}

// Encode encodes text, with a BOS in front where the tokenizer adds one.
func Encode(t tokenizer.Tokenizer, text string) []uint32 {
	var tokens []uint32
	if bos, ok := t.BOS(); ok && t.AddBOS() {
		tokens = append(tokens, uint32(bos))
	}
	for _, id := range t.Encode(text) {
		tokens = append(tokens, uint32(id))
	}
	return tokens
}

// Cut cuts tokens into consecutive windows; a tail that does not fill one is dropped. No full window is an error.
func Cut(tokens []uint32, window int) ([][]uint32, error) {
	if window < 2 {
		return nil, fmt.Errorf("window of %d tokens, expected 2 or more", window)
	}
	if len(tokens) == 0 {
		return nil, errors.New("the corpus is empty")
	}
	if len(tokens) < window {
		return nil, fmt.Errorf("the corpus has %d tokens, one window takes %d", len(tokens), window)
	}
	windows := slices.Collect(slices.Chunk(tokens, window))
	if len(windows[len(windows)-1]) < window {
		windows = windows[:len(windows)-1]
	}
	return windows, nil
}

// Sample keeps n windows chosen at random by seed, in their order; n of 0 or at least their number keeps all.
func Sample(windows [][]uint32, n int, seed uint64) [][]uint32 {
	if n <= 0 || n >= len(windows) {
		return windows
	}
	chosen := rand.New(rand.NewPCG(seed, 0)).Perm(len(windows))[:n]
	slices.Sort(chosen)
	out := make([][]uint32, n)
	for i, w := range chosen {
		out[i] = windows[w]
	}
	return out
}

// Hash is the SHA-256 of the windows' tokens, each as 4 bytes, little-endian.
func Hash(windows [][]uint32) string {
	h := sha256.New()
	for _, w := range windows {
		for _, t := range w {
			h.Write(binary.LittleEndian.AppendUint32(nil, t))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
