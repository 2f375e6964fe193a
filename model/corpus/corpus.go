// Package corpus turns token ids and text into the windows of tokens that models are scored and evaluated on.
//
// Load reads documents: a plain text file is one; of JSON (.json, .jsonl, .ndjson: objects one a line, over several lines, in an array or in
// the one array of an object), CSV (.csv, .tsv) and Hugging Face Parquet every row is one. All but Parquet may be compressed (.gz, .zst, .bz2, .lz4, .br).
// A folder of several splits gives one of them. Files are read as streams, and no line, row or header makes it take memory without bound.
package corpus

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/vkcome/vkcome/model/tokenizer"
)

// Encode encodes text, with what the tokenizer puts around it.
func Encode(t tokenizer.Tokenizer, text string) ([]uint32, error) {
	ids, err := t.Encode(text)
	if err != nil {
		return nil, err
	}
	before, after := around(t)
	return joined(before, ids, after), nil
}

// EncodeSpecial is Encode with the special tokens in the text recognized. A text that begins with BOS gets nothing around it.
func EncodeSpecial(t tokenizer.Tokenizer, text string) ([]uint32, error) {
	ids, err := t.EncodeSpecial(text)
	if err != nil {
		return nil, err
	}
	before, after := around(t)
	if bos, ok := t.BOS(); ok && len(ids) > 0 && ids[0] == bos {
		before, after = nil, nil
	}
	return joined(before, ids, after), nil
}

func joined(parts ...[]int) []uint32 {
	var tokens []uint32
	for _, part := range parts {
		for _, id := range part {
			tokens = append(tokens, uint32(id))
		}
	}
	return tokens
}

// around is what goes before and after a text: what transformers puts there, or else BOS where add_bos_token asks for it.
func around(t tokenizer.Tokenizer) (before, after []int) {
	before = t.Prefix()
	if bos, ok := t.BOS(); ok && len(before) == 0 && t.AddBOS() {
		before = []int{bos}
	}
	return before, t.Suffix()
}

var errEmpty = errors.New("the corpus is empty")

func badWindow(window int) error {
	return fmt.Errorf("window of %d tokens, expected 2 or more", window)
}

func tooShort(tokens, window int) error {
	return fmt.Errorf("the corpus has %d tokens, one window takes %d", tokens, window)
}

// Cut cuts tokens into consecutive windows; a tail that does not fill one is dropped. No full window is an error.
func Cut(tokens []uint32, window int) ([][]uint32, error) {
	if window < 2 {
		return nil, badWindow(window)
	}
	if len(tokens) == 0 {
		return nil, errEmpty
	}
	if len(tokens) < window {
		return nil, tooShort(len(tokens), window)
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
	out := make([][]uint32, n)
	for i, w := range pick(len(windows), n, seed) {
		out[i] = slices.Clone(windows[w]) // the others' memory is not kept for it
	}
	return out
}

// pick gives the numbers of those that Sample keeps.
func pick(windows, n int, seed uint64) []int {
	if n >= windows {
		all := make([]int, windows)
		for i := range all {
			all[i] = i
		}
		return all
	}
	chosen := rand.New(rand.NewPCG(seed, 0)).Perm(windows)[:n]
	slices.Sort(chosen)
	return chosen
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
