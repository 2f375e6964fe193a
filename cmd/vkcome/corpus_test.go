package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/hub/hubtest"
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
	parseJSON(t, vkcome(t, "prune", embedded.Name, filepath.Join(dir, "out"), "--method", "come", "--target-layers", "11", "--window", "64", "--json", "-q",
		"--protocol", "come-paper", "--docs", "1", "--field", "body", "--text", filepath.Join(dir, "story.jsonl")), &l)
	if want := "story.jsonl; 1 of 1 documents, shuffled by seed 0; come-paper"; l.Calibration.Source != want {
		t.Errorf("source %q, want %q", l.Calibration.Source, want)
	}
}

// TestHubName opens models by name: one that is in the cache, and one that is fetched into it.
func TestHubName(t *testing.T) {
	s := hubtest.New(t)
	t.Setenv("HF_ENDPOINT", s.URL)
	cache := t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	layers := func(want float64, args ...string) {
		t.Helper()
		var got map[string]any
		parseJSON(t, vkcome(t, append([]string{"inspect", "--json"}, args...)...), &got)
		if got["layers"] != want {
			t.Errorf("%q: %v layers, want %v", args, got["layers"], want)
		}
	}
	dir := filepath.Join(cache, "models--some--Tiny", "snapshots", strings.Repeat("a", 40))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	small.Write(t, dir)
	layers(4, "some/Tiny", "--offline")
	files := map[string]string{}
	other := t.TempDir()
	small.Write(t, other)
	for _, name := range []string{"config.json", "model.safetensors"} {
		raw, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(raw)
	}
	files["tokenizer.json"] = "{}"
	s.Repos["models/some/Other"] = files
	refuse(t, 1, "some/Other is no folder, not whole in the Hugging Face cache", "inspect", "some/Other", "--offline")
	_, stderr, code := try(t, "inspect", "some/Other@v1")
	if code != 0 || !strings.HasPrefix(stderr, "fetching 2 files, ") || !strings.Contains(stderr, " of some/Other@v1\n") {
		t.Errorf("%d, %q", code, stderr)
	}
	layers(4, "some/Other@v1", "--offline")
	refuse(t, 1, "the hub has no such repository", "inspect", "some/None")
	s.Repos["models/some/Bert"] = map[string]string{"config.json": `{"architectures": ["BertModel"], "model_type": "bert"}`, "model.safetensors": "", "tokenizer.json": "{}"}
	refuse(t, 1, "hub: some/Bert: ", "inspect", "some/Bert")
	for _, line := range s.Asked() {
		if strings.Contains(line, "Bert/-/model") {
			t.Errorf("asked for %s", line)
		}
	}
}
