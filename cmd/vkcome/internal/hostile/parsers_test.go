//go:build unix

package hostile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// parsers are the readers of bytes from outside, by package, each with its fuzz target. `make fuzz` runs them all.
var parsers = map[string]map[string]string{
	"model/arch":         {"config.json": "FuzzConfig", "generation_config.json": "FuzzGeneration"},
	"model/safetensors":  {"headers": "FuzzHeader", "indexes": "FuzzIndex"},
	"model/torchfile":    {"pickles": "FuzzTorchfile", "indexes": "FuzzIndex"},
	"model/gguf":         {"files": "FuzzFile"},
	"model/tokenizer":    {"tokenizer.json": "FuzzTokenizerJSON", "the files beside it": "FuzzFolder", "SentencePiece": "FuzzSentencePiece"},
	"model/chat":         {"the files of templates": "FuzzTemplates"},
	"model/chat/jinja":   {"templates": "FuzzRender"},
	"model/corpus":       {"JSON and JSON lines": "FuzzJSON", "CSV": "FuzzCSV", "Parquet": "FuzzParquet", "folders of data sets": "FuzzLayout", "token ids": "FuzzTokens"},
	"model/hub":          {"names": "FuzzParseModel", "answers": "FuzzAnswers", "indexes": "FuzzShards"},
	"model/eval":         {"results and samples": "FuzzResults", "caches of scores": "FuzzScoreCache"},
	"model/bench":        {"reports": "FuzzReport"},
	"model/lsq":          {"sums": "FuzzMergeFrom"},
	"model/op":           {"tunings": "FuzzTuning"},
	"vk":                 {"caches of pipelines": "FuzzPipelines"},
	"prune":              {"plans": "FuzzPlan", "lineages": "FuzzLineage", "states of runs": "FuzzRun", "searches": "FuzzSearchFile"},
	"prune/method":       {"trees": "FuzzTree", "states of methods": "FuzzState"},
	"prune/distill":      {"states of training": "FuzzProgress"},
	"prune/score":        {"figures": "FuzzStats"},
	"prune/refit/shards": {"parts, sums and fits": "FuzzFolder"},
	"prune/work":         {"checkpoints": "FuzzCheckpoint", "manifests and lists": "FuzzManifest"},
}

// TestEveryParserIsFuzzed fails where a parser's fuzz target is gone, and where a package that takes JSON or numbers out of bytes has none.
func TestEveryParserIsFuzzed(t *testing.T) {
	root := "../../../.."
	for dir, of := range parsers {
		text := source(t, filepath.Join(root, dir), true)
		for what, target := range of {
			if !strings.Contains(text, "\nfunc "+target+"(f *testing.F)") {
				t.Errorf("%s: %s have no fuzz target %s", dir, what, target)
			}
		}
	}
	// Formats of other programs are read in these packages alone; what another package of model parses is listed above, or passes through one of them.
	formats, err := filepath.Glob(filepath.Join(root, "model", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range formats {
		name := "model/" + filepath.Base(dir)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || parsers[name] != nil {
			continue
		}
		if text := source(t, dir, false); strings.Contains(text, "json.NewDecoder(") || strings.Contains(text, "csv.NewReader(") || strings.Contains(text, "zip.NewReader(") {
			if name != "model/ref" && name != "model/modeltest" { // an oracle and a maker for tests
				t.Errorf("%s parses and is not in the list of parsers", name)
			}
		}
	}
}

// source is the text of a package: its tests, or all else.
func source(t *testing.T, dir string, tests bool) string {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") != tests {
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString("\n")
		text.Write(raw)
	}
	return text.String()
}
