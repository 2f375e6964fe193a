package tokenizer

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

const goldenDir = "../../testdata/golden/"

func read(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func tiny12(t testing.TB) Tokenizer {
	t.Helper()
	tok, err := Load("../embedded/tiny12")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// testCase is a text with its ids.
type testCase struct {
	Text string `json:"text"`
	IDs  []int  `json:"ids"`
}

func golden(t testing.TB) (cases struct{ Tiny12, Llama2 []testCase }) {
	t.Helper()
	if err := json.Unmarshal(read(t, goldenDir+"tokenizer_cases.json"), &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

func check(t *testing.T, tok Tokenizer, cases []testCase) {
	t.Helper()
	if len(cases) == 0 {
		t.Error("no cases")
	}
	for _, c := range cases {
		if got := must(tok.Encode(c.Text)); !slices.Equal(got, c.IDs) {
			t.Errorf("%q:\ngot  %v\nwant %v", c.Text, got, c.IDs)
		}
		if got := tok.Decode(c.IDs); got != c.Text {
			t.Errorf("%v: got %q, want %q", c.IDs, got, c.Text)
		}
	}
}

func TestGoldenTiny12(t *testing.T) { check(t, tiny12(t), golden(t).Tiny12) }

// must gives what cannot fail here.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
