package gguf

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/tokenizer"
)

// TestPieces compares the ids of a SentencePiece vocabulary with llama.cpp's: testdata/model.py.
func TestPieces(t *testing.T) {
	raw, err := os.ReadFile("testdata/model.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Texts  []string
		Pieces [][]int
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	f, err := Open("testdata/pieces.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok := tokenizerOf(t, f)
	for i, text := range golden.Texts {
		if got, err := tok.EncodeSpecial(text); err != nil || !slices.Equal(got, golden.Pieces[i]) {
			t.Errorf("%q: ids %v, llama.cpp gives %v", text, got, golden.Pieces[i])
		}
		if got := tok.DecodeSkipSpecial(golden.Pieces[i]); i != 0 && got != text { // the first has a token that takes the next space
			t.Errorf("%q decodes as %q", text, got)
		}
	}
	if prefix := tok.Prefix(); !slices.Equal(prefix, []int{1}) {
		t.Errorf("a text begins with %v", prefix)
	}
}

func tokenizerOf(t *testing.T, f *File) tokenizer.Tokenizer {
	t.Helper()
	raw, err := f.TokenizerJSON()
	if err != nil {
		t.Fatal(err)
	}
	config, err := f.TokenizerConfigJSON()
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.ParseJSON(raw, config)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestPreTokenizers makes a tokenizer with each way to cut text, under each of its names.
func TestPreTokenizers(t *testing.T) {
	for _, p := range PreTokenizers {
		for _, name := range append([]string{p.Name}, p.Same...) {
			if got, err := FindPreTokenizer(name); err != nil || got.Name != p.Name {
				t.Errorf("%s is %s, %v, expected %s", name, got.Name, err, p.Name)
			}
		}
		for architecture, name := range p.Of {
			if got, err := FindPreTokenizer(name); err != nil || !slices.Equal(got.Patterns, p.Patterns) || got.IgnoreMerges != p.IgnoreMerges {
				t.Errorf("%s, as %s has it, is read as %s, %v", name, architecture, got.Name, err)
			}
		}
		f, err := OpenBytes("test", file(t, vocabularyPairs(p.Name)))
		if err != nil {
			t.Fatal(err)
		}
		tok := tokenizerOf(t, f)
		if got, err := tok.Encode("ab"); err != nil || !slices.Equal(got, []int{2}) {
			t.Errorf("%s: ids %v, expected 2", p.Name, got)
		}
		if prefix := tok.Prefix(); len(prefix) > 0 != p.BOS {
			t.Errorf("%s: a text begins with %v, with BOS: %v", p.Name, prefix, p.BOS)
		}
	}
}

func vocabularyPairs(pre string, more ...Pair) []Pair {
	return append([]Pair{{"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", pre}, {"tokenizer.ggml.tokens", []string{"a", "b", "ab", "<s>"}},
		{"tokenizer.ggml.token_type", []int32{1, 1, 1, 3}}, {"tokenizer.ggml.merges", []string{"a b"}}, {"tokenizer.ggml.bos_token_id", uint32(3)}}, more...)
}

func TestTokenizerRefused(t *testing.T) {
	for _, c := range []struct {
		key, want string
		value     any
	}{
		{"tokenizer.ggml.model", `tokenizer.ggml.model "t5" is not supported`, "t5"},
		{"tokenizer.ggml.pre", `tokenizer.ggml.pre "superbpe" is not supported`, "superbpe"},
		{"tokenizer.ggml.pre", `tokenizer.ggml.pre "nothing" is not supported`, uint32(1)},
		{"tokenizer.ggml.tokens", "tokenizer.ggml.tokens: missing", []int32{1}},
		{"tokenizer.ggml.tokens", `tokens 0 and 1 are both "a"`, []string{"a", "a", "b", "c"}},
		{"tokenizer.ggml.token_type", "has 1 entries, there are 4 tokens", []int32{1}},
		{"tokenizer.ggml.merges", "tokenizer.ggml.merges: no array of texts", "a b"},
		{"tokenizer.ggml.merges", `tokenizer.ggml.merges: missing or empty, and token 2, "ab", is made by merges`, []string{}},
		{"tokenizer.ggml.merges", `entry 0, "ab", is no pair`, []string{"ab"}},
		{"tokenizer.ggml.model", "tokenizer.ggml.scores has 0 numbers", "llama"},
		{"tokenizer.ggml.add_space_prefix", "add_space_prefix", true},
	} {
		pairs := slices.DeleteFunc(vocabularyPairs("gpt-2"), func(p Pair) bool { return p.Key == c.key })
		f, err := OpenBytes("test", file(t, append(pairs, Pair{c.key, c.value})))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.TokenizerJSON(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.key, err, c.want)
		}
	}
}

// A vocabulary of bytes needs no merges: the list may be empty or missing.
func TestTokenizerWithoutMerges(t *testing.T) {
	bytes := slices.DeleteFunc(vocabularyPairs("gpt-2", Pair{"tokenizer.ggml.tokens", []string{"a", "b", "Ġ", "<s>"}}), func(p Pair) bool {
		tokens, ok := p.Value.([]string)
		return p.Key == "tokenizer.ggml.merges" || ok && slices.Contains(tokens, "ab")
	})
	for name, pairs := range map[string][]Pair{"missing": bytes, "empty": append(slices.Clone(bytes), Pair{"tokenizer.ggml.merges", []string{}})} {
		f, err := OpenBytes("test", file(t, pairs))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		tok := tokenizerOf(t, f)
		if got, err := tok.Encode("ab a"); err != nil || !slices.Equal(got, []int{0, 1, 2, 0}) {
			t.Errorf("%s: ids %v, expected 0 1 2 0", name, got)
		}
	}
}
