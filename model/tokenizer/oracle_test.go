package tokenizer

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// oracle is what the original tokenizers gave for small vocabularies that were trained, with every feature this package
// supports, on a text written for it: testdata/huggingface.json by tokenizers 0.23.3, testdata/sentencepiece.json by
// sentencepiece 0.2.3. Fields that repeat another are left out of the files.
type oracle struct {
	Tokenizers []struct {
		File  string
		Cases []struct {
			testCase
			SpecialIDs []int   `json:"special_ids"` // with special tokens parsed; nil when equal to IDs
			Decoded    *string // of SpecialIDs, when it differs from Text
			Skipped    *string // the same without special tokens, when it differs from Decoded
		}
		Decode []struct {
			IDs              []int
			Decoded, Skipped *string
		}
	}
	Splits []struct {
		Pre   json.RawMessage
		Text  string
		Words []string
	}
}

func readOracle(t *testing.T, name string) (o oracle) {
	t.Helper()
	if err := json.Unmarshal(read(t, "testdata/"+name), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func orElse(s *string, other string) string {
	if s == nil {
		return other
	}
	return *s
}

func TestHuggingFace(t *testing.T) {
	o := readOracle(t, "huggingface.json")
	for _, c := range o.Tokenizers {
		t.Run(c.File, func(t *testing.T) {
			tok, err := ParseJSON(read(t, "testdata/"+c.File), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range c.Cases {
				if got := must(tok.Encode(c.Text)); !slices.Equal(got, c.IDs) {
					t.Errorf("%q:\ngot  %v %q\nwant %v %q", c.Text, got, spell(tok, got), c.IDs, spell(tok, c.IDs))
				}
				want := c.SpecialIDs
				if want == nil {
					want = c.IDs
				}
				if got := must(tok.EncodeSpecial(c.Text)); !slices.Equal(got, want) {
					t.Errorf("special %q:\ngot  %v %q\nwant %v %q", c.Text, got, spell(tok, got), want, spell(tok, want))
				}
				decoded := orElse(c.Decoded, c.Text)
				checkDecode(t, tok, want, decoded, orElse(c.Skipped, decoded))
			}
			for _, c := range c.Decode {
				checkDecode(t, tok, c.IDs, *c.Decoded, orElse(c.Skipped, *c.Decoded))
			}
		})
	}
	if len(o.Tokenizers) == 0 {
		t.Error("no tokenizers")
	}
}

func spell(tok Tokenizer, ids []int) string {
	var out []string
	for _, id := range ids {
		token, _ := tok.Token(id)
		out = append(out, token)
	}
	return strings.Join(out, "|")
}

func checkDecode(t *testing.T, tok Tokenizer, ids []int, decoded, skipped string) {
	t.Helper()
	if got := tok.Decode(ids); got != decoded {
		t.Errorf("decode %v:\ngot  %q\nwant %q", ids, got, decoded)
	}
	if got := tok.DecodeSkipSpecial(ids); got != skipped {
		t.Errorf("decode %v without special tokens:\ngot  %q\nwant %q", ids, got, skipped)
	}
}

func TestSplitBehaviors(t *testing.T) {
	cases := readOracle(t, "huggingface.json").Splits
	for _, c := range cases {
		var pre component
		if err := json.Unmarshal(c.Pre, &pre); err != nil {
			t.Fatal(err)
		}
		list, _, err := newSplitters(&pre)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range list[0](&encoder{room: 1 << 20, left: matchTime}, []piece{{text: c.Text}}, true) {
			got = append(got, p.text)
		}
		if !slices.Equal(got, c.Words) {
			t.Errorf("%s: %q: got %q, want %q", c.Pre, c.Text, got, c.Words)
		}
	}
	if len(cases) == 0 {
		t.Error("no cases")
	}
}

func TestSentencePiece(t *testing.T) {
	o := readOracle(t, "sentencepiece.json")
	for _, c := range o.Tokenizers {
		t.Run(c.File, func(t *testing.T) {
			tok, err := Parse(Files{Model: read(t, "testdata/"+c.File)})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range c.Cases {
				if got := must(tok.Encode(c.Text)); !slices.Equal(got, c.IDs) {
					t.Errorf("%q:\ngot  %v %q\nwant %v %q", c.Text, got, spell(tok, got), c.IDs, spell(tok, c.IDs))
				}
				if got, want := tok.DecodeSkipSpecial(c.IDs), orElse(c.Skipped, c.Text); got != want {
					t.Errorf("decode %v:\ngot  %q\nwant %q", c.IDs, got, want)
				}
			}
			for _, c := range c.Decode {
				if got := tok.DecodeSkipSpecial(c.IDs); got != *c.Skipped {
					t.Errorf("decode %v:\ngot  %q\nwant %q", c.IDs, got, *c.Skipped)
				}
			}
		})
	}
	if len(o.Tokenizers) == 0 {
		t.Error("no models")
	}
}
