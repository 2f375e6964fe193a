package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/prune"
)

func TestCorpusFlags(t *testing.T) {
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--docs -1", []string{"--text", "x", "--docs", "-1"}},
		{"--in-order", []string{"--text", "x", "--in-order"}},
		{"--protocol \"x\"", []string{"--text", "x", "--protocol", "x"}},
		{"--bos has no meaning with --protocol", []string{"--protocol", "come-paper", "--bos", "never"}},
		{"--docs has no meaning with --tokens", []string{"--tokens", calib, "--docs", "3"}},
		{"either --text FILE or --tokens FILE", []string{"--tokens", calib, "--protocol", "come-paper"}},
		{"--no-cross", []string{"--text", "x", "--no-cross", "--pack", "join"}},
	} {
		refuse(t, 2, c.want, append([]string{"eval", "ppl", embedded.Name}, c.args...)...)
	}
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	refuse(t, 1, "hf download --repo-type dataset Salesforce/wikitext", "eval", "ppl", embedded.Name, "--protocol", "come-paper", "--offline")
	refuse(t, 1, "nor a corpus by name", "eval", "ppl", embedded.Name, "--text", "nothing")
}

// TestCorpusFormats: a text gives one perplexity, whichever file it is in, and a record of where it came from.
func TestCorpusFormats(t *testing.T) {
	dir := t.TempDir()
	line, err := json.Marshal(map[string]string{"body": embedded.Text})
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"story.txt": []byte(embedded.Text), "story.jsonl": line} {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ppl := func(args ...string) (p eval.Perplexity) {
		parseJSON(t, vkcome(t, append([]string{"eval", "ppl", embedded.Name, "--window", "64", "--json", "-q"}, args...)...), &p)
		return p
	}
	text := ppl("--text", filepath.Join(dir, "story.txt"))
	for _, args := range [][]string{{"--field", "body", "--text", filepath.Join(dir, "*.jsonl")}, {"--field", "body", "--protocol", "come-paper", "--text", filepath.Join(dir, "story.jsonl")}} {
		if p := ppl(args...); p != text {
			t.Errorf("%v: %+v, of plain text %+v", args, p, text)
		}
	}
	var l prune.Lineage
	parseJSON(t, vkcome(t, "prune", embedded.Name, filepath.Join(dir, "out"), "--target-layers", "11", "--window", "64", "--json", "-q",
		"--protocol", "come-paper", "--docs", "1", "--field", "body", "--text", filepath.Join(dir, "story.jsonl")), &l)
	if want := "story.jsonl; 1 of 1 documents, shuffled by seed 0; come-paper"; l.Calibration.Source != want {
		t.Errorf("source %q, want %q", l.Calibration.Source, want)
	}
}

// TestHubName opens a model by its name in a cache made for the test.
func TestHubName(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	dir := filepath.Join(cache, "models--some--Tiny", "snapshots", strings.Repeat("a", 40))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	small.Write(t, dir)
	var got map[string]any
	parseJSON(t, vkcome(t, "inspect", "some/Tiny", "--json"), &got)
	if got["layers"] != 4.0 {
		t.Errorf("%v", got)
	}
	refuse(t, 1, "hf download some/Other", "inspect", "some/Other")
}
