package eval

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/tokenizer"
)

// sequence is a run.Sequence of requests.json; one without tokens is what lm-eval refuses.
type sequence struct {
	Tokens []uint32
	Scored int
}

func (s sequence) equals(q run.Sequence) bool {
	return s.Scored == q.Scored && slices.Equal(s.Tokens, q.Tokens)
}

func TestEncoder(t *testing.T) {
	type cases struct {
		Pairs []struct {
			Longest               int
			Context, Continuation string
			sequence
		}
		Rolling []struct {
			Longest int
			Text    string
			Windows []sequence
		}
	}
	var golden struct{ Plain, Template cases }
	raw, err := os.ReadFile("testdata/requests.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	plain, err := os.ReadFile("../embedded/tiny12/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("../embedded/tiny12/tokenizer_config.json")
	if err != nil {
		t.Fatal(err)
	}
	template := bytes.Replace(plain, []byte(`"post_processor": null`), []byte(`"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|endoftext|>"}}, `+
		`{"Sequence": {"id": "A"}}], "special_tokens": {"<|endoftext|>": {"ids": [0]}}}`), 1)
	if bytes.Equal(plain, template) {
		t.Fatal("tiny12's tokenizer.json has another post_processor than null")
	}
	for _, c := range []struct {
		name string
		file []byte
		cases
	}{{"plain", plain, golden.Plain}, {"template", template, golden.Template}} {
		tok, err := tokenizer.ParseJSON(c.file, config)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Pairs) == 0 || len(c.Rolling) == 0 {
			t.Error("no cases")
		}
		for _, p := range c.Pairs {
			got, err := NewEncoder(tok, p.Longest).Pair(p.Context, p.Continuation)
			if (err != nil) != (len(p.Tokens) == 0) {
				t.Errorf("%s: %q + %q, longest %d: error %v, expected %v", c.name, p.Context, p.Continuation, p.Longest, err, p.Tokens)
			} else if !p.equals(got) {
				t.Errorf("%s: %q + %q, longest %d:\ngot  %v\nwant %v", c.name, p.Context, p.Continuation, p.Longest, got, p.sequence)
			}
		}
		for _, r := range c.Rolling {
			got, err := NewEncoder(tok, r.Longest).Rolling(r.Text)
			if err != nil {
				t.Errorf("%s: %q: %v", c.name, r.Text, err)
			}
			if !slices.EqualFunc(r.Windows, got, sequence.equals) {
				t.Errorf("%s: %q, longest %d:\ngot  %v\nwant %v", c.name, r.Text, r.Longest, got, r.Windows)
			}
		}
	}
}
