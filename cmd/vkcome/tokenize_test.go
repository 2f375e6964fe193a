package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
)

func TestTokenize(t *testing.T) {
	const text = "ay é<|endoftext|>"
	if got, want := string(vkcome(t, "tokenize", embedded.Name, text)), `315  0–2   "ay"
33   2–3   "Ġ"
196  3–4   "Ã"
170  4–5   "©"
0    5–18  "<|endoftext|>"
`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte("<|endoftext|>"), 0o600); err != nil {
		t.Fatal(err)
	}
	var whole, raw struct{ Tokens []tokenJSON }
	parseJSON(t, vkcome(t, "tokenize", embedded.Name, "--file", file, "--json"), &whole)
	parseJSON(t, vkcome(t, "tokenize", embedded.Name, "--file", file, "--json", "--raw"), &raw)
	if len(whole.Tokens) != 1 || whole.Tokens[0] != (tokenJSON{0, "<|endoftext|>", 0, 13}) {
		t.Errorf("%+v", whole)
	}
	if n := len(raw.Tokens); n < 3 || raw.Tokens[n-1].End != 13 || raw.Tokens[0].Begin != 0 {
		t.Errorf("--raw: %+v", raw)
	}
	refuse(t, 2, "give TEXT, - for standard input, or --file FILE", "tokenize", embedded.Name)
	refuse(t, 2, "give TEXT or --file, not both", "tokenize", embedded.Name, "a", "--file", file)
	refuse(t, 1, filepath.Base(file)+"x: ", "tokenize", embedded.Name, "--file", file+"x")
}
