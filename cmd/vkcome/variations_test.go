package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/modeltest/variation"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

const variations = "../../testdata/variations"

// judged is what transformers makes of a case, see testdata/variations/judge.py.
type judged struct {
	Name           string
	TokenizerError string `json:"tokenizer_error"`
	ModelError     string `json:"model_error"`
	Texts          []judgedText
	Logits         []float64 // every 25th of those behind the last of 40 tokens
	Argmax         int
	Greedy         []int // at most 12 tokens behind variationPrompt, an end of sequence included
}

type judgedText struct {
	Text, Decoded, Skipped string
	IDs, Plain, Raw        []int
}

var variationPrompt = []uint32{5, 77, 130, 9, 41, 200}

// TestVariations opens models whose files vary as they are found, and compares ids, logits and generated tokens with transformers: what
// is not the same must be an error that the case names.
func TestVariations(t *testing.T) {
	cases, err := variation.Load(variations)
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string][]judged{}
	d := vktest.Open(t, vk.Options{})
	for _, c := range cases {
		if _, ok := golden[c.Area]; !ok {
			golden[c.Area] = readJudged(t, c.Area)
		}
		t.Run(c.Area+"/"+c.Name, func(t *testing.T) {
			i := slices.IndexFunc(golden[c.Area], func(j judged) bool { return j.Name == c.Name })
			if i < 0 {
				t.Fatal("golden.json lacks it: run testdata/variations/judge.py")
			}
			want := golden[c.Area][i]
			got, err := understood(t, d, c, want)
			switch {
			case err != nil && c.Refused == "":
				t.Errorf("vkcome: %v", err)
			case err == nil && c.Refused != "":
				t.Errorf("no error, expected one with %q", c.Refused)
			case err != nil && !strings.Contains(err.Error(), c.Refused):
				t.Errorf("vkcome: %v; expected an error with %q", err, c.Refused)
			case err == nil:
				got.compare(t, want)
			}
		})
	}
	vktest.Clean(t)
}

func readJudged(t *testing.T, area string) []judged {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(variations, area, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []judged }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	return file.Cases
}

// heard is what vkcome makes of a case.
type heard struct {
	tokenizer tokenizer.Tokenizer
	logits    []float32
	greedy    []uint32
}

func understood(t *testing.T, d *vk.Device, c variation.Case, want judged) (got heard, err error) {
	dir := t.TempDir()
	if err := c.WriteTo(dir); err != nil {
		t.Fatal(err)
	}
	m, err := model.Open(dir)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if got.tokenizer, err = m.Tokenizer(); err != nil {
		return got, err
	}
	if want.ModelError != "" {
		return got, nil
	}
	g, err := generate.New(d, m, 0)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	var tokens []uint32
	for i := range 40 {
		tokens = append(tokens, uint32((i*7919+13)%258))
	}
	if got.logits, err = g.Feed(t.Context(), tokens); err != nil {
		return got, err
	}
	got.greedy, err = continueText(t.Context(), d, m, got.tokenizer, variationPrompt, generate.WriterOptions{Tokens: 12}, nil)
	return got, err
}

func (h heard) compare(t *testing.T, want judged) {
	t.Helper()
	if want.TokenizerError != "" || want.ModelError != "" {
		t.Errorf("vkcome reads what transformers does not: %s %s", want.TokenizerError, want.ModelError)
		return
	}
	same := func(what string, got, want []int) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, transformers gives %v", what, got, want)
		}
	}
	for _, w := range want.Texts {
		plain, err := h.tokenizer.EncodeSpecial(w.Text)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := h.tokenizer.Encode(w.Text)
		if err != nil {
			t.Fatal(err)
		}
		same("ids of "+w.Text, slices.Concat(h.tokenizer.Prefix(), plain, h.tokenizer.Suffix()), w.IDs)
		same("ids without special tokens around "+w.Text, plain, w.Plain)
		same("ids as plain text of "+w.Text, raw, w.Raw)
		if got := h.tokenizer.Decode(w.IDs); got != w.Decoded {
			t.Errorf("decoded %q, transformers gives %q", got, w.Decoded)
		}
		if got := h.tokenizer.DecodeSkipSpecial(w.IDs); got != w.Skipped {
			t.Errorf("decoded without special tokens %q, transformers gives %q", got, w.Skipped)
		}
	}
	var logits []float32
	for i := 0; i < len(h.logits); i += 25 {
		logits = append(logits, h.logits[i])
	}
	vktest.Near(t, logits, want.Logits, "model logits", "F32")
	greedy := ints(h.greedy)
	if n := len(want.Greedy); n < 12 && len(greedy) == n-1 { // transformers keeps the end of sequence
		greedy = append(greedy, want.Greedy[n-1])
	}
	same("greedy tokens", greedy, want.Greedy)
}
