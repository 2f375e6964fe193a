package main

import (
	"bytes"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune/report"
)

// pageOf reads a page and checks that it is one, of a size that is allowed, and has texts.
func pageOf(t *testing.T, path string, want ...string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return nil
	}
	if len(raw) > report.MaxPage || !bytes.HasPrefix(raw, []byte("<!DOCTYPE html>")) || !bytes.HasSuffix(raw, []byte("</html>\n")) {
		t.Errorf("%s: %d bytes, no page", path, len(raw))
	}
	text := html.UnescapeString(strings.NewReplacer("<span>", "", "</span>", "").Replace(string(raw)))
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s: nothing of %q", path, w)
		}
	}
	return raw
}

// TestReport writes pages of real runs, and again of what these left.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	corpus := []string{"--tokens", calib, "--window", "32", "--samples", "8", "-q"}
	line := func(args []string) string { return strings.Join(append([]string{"vkcome"}, args...), " ") }

	args := append([]string{"prune", embedded.Name, at("out"), "-m", "come", "--target-layers", "10", "--report", at("prune.html")}, corpus...)
	vkcome(t, args...)
	pageOf(t, at("prune.html"), line(args), "Report: out", "Device memory at most", "Block influence", "10 of 12")

	args = append([]string{"distill", embedded.Name, at("out"), at("healed"), "--budget-tokens", "64", "--batch", "1", "--held-out", "1", "--end-to-end", "1", "--report", at("distill.html")}, corpus...)
	vkcome(t, args...)
	pageOf(t, at("distill.html"), line(args), "Training of all weights", "held-out loss")

	args = append([]string{"compare", embedded.Name, "--methods", "shortgpt,reverse", "--depths", "11,10", "--eval-tokens", evalSet, "--eval-samples", "2", "--json", "--report", at("compare.html")}, corpus...)
	compared := vkcome(t, args...)
	pageOf(t, at("compare.html"), line(args), "Perplexity by depth", "shortgpt")
	if err := os.WriteFile(at("compare.json"), compared, 0o644); err != nil {
		t.Fatal(err)
	}

	args = evalTasks(taskModel, "--tasks", "boolq", "--limit", "4", "--no-cache", "-q", "-o", at("results.json"), "--report", at("tasks.html"))
	vkcome(t, args...)
	pageOf(t, at("tasks.html"), line(args), "Accuracy, with 95 % intervals", "boolq")

	args = []string{"bench", "--ops", "rmsnorm", "-r", "1", "-q", "-o", "json", "--report", at("bench.html")}
	measured := vkcome(t, args...)
	pageOf(t, at("bench.html"), line(args), "rmsnorm 4096×4096", "Share of the device's measured peak")
	if err := os.WriteFile(at("bench.json"), measured, 0o644); err != nil {
		t.Fatal(err)
	}
	args = []string{"bench", "compare", at("bench.json"), at("bench.json"), "--report", at("benches.html")}
	vkcome(t, args...)
	pageOf(t, at("benches.html"), line(args), "2 ÷ 1")

	vkcome(t, "convert", at("healed"), at("healed.gguf"), "-q")
	all := []string{at("out"), at("healed"), at("healed.gguf"), at("compare.json"), at("results.json"), at("bench.json")}
	text := vkcome(t, append([]string{"report", "-o", at("all.html")}, all...)...)
	if !strings.HasPrefix(string(text), at("all.html")+": ") {
		t.Errorf("printed %q", text)
	}
	one := pageOf(t, at("all.html"), "--target-layers 10 --text CORPUS1 --window 32 --samples 8 --seed 0",
		"vkcome distill MODEL OUT OUT2 --text CORPUS2", "healed.gguf", "Methods compared on embedded:tiny12", "Accuracy of", "rmsnorm")
	var told struct {
		File  string
		Bytes int
	}
	parseJSON(t, vkcome(t, append([]string{"report", "-o", at("all.html"), "--force", "--json"}, all...)...), &told)
	if two := pageOf(t, at("all.html")); !bytes.Equal(one, two) || told.Bytes != len(two) || told.File != at("all.html") {
		t.Errorf("written again: %d bytes after %d, told %+v", len(two), len(one), told)
	}
}

// TestReportRefused: what cannot be written in the end is refused before anything is computed.
func TestReportRefused(t *testing.T) {
	dir := t.TempDir()
	out, mine, none := filepath.Join(dir, "out"), filepath.Join(dir, "mine.html"), filepath.Join(dir, "none", "a.html")
	if err := os.WriteFile(mine, []byte("<title>mine</title>"), 0o644); err != nil {
		t.Fatal(err)
	}
	corpus := []string{"--tokens", calib, "--window", "32", "--samples", "8"}
	for _, args := range [][]string{
		append([]string{"prune", embedded.Name, out, "--target-layers", "9", "--force"}, corpus...),
		append([]string{"auto", embedded.Name, out, "--target-layers", "9", "--force"}, corpus...),
		append([]string{"distill", embedded.Name, embedded.Name, out, "--force"}, corpus...),
		append([]string{"compare", embedded.Name, "--depths", "9", "--eval-tokens", evalSet, "--force"}, corpus...),
		evalTasks(taskModel, "--tasks", "boolq", "--force"),
		{"bench", "--force"},
		{"bench", "compare", "a.json", "b.json", "--force"},
	} {
		refuse(t, 1, "is no report of vkcome: it will not be replaced", append(args, "--report", mine)...)
		refuse(t, 1, "does not exist", append(args, "--report", none)...)
	}
	refuse(t, 2, "--report has no meaning with --plan-only", append([]string{"prune", embedded.Name, "--target-layers", "9", "--plan-only", "--report", filepath.Join(dir, "a.html")}, corpus...)...)
	refuse(t, 2, "give the file to write (-o FILE.html)", "report", dir)
	refuse(t, 1, "has no vkcome.json", "report", dir, "-o", filepath.Join(dir, "a.html"))
	vkcome(t, "prune", embedded.Name, out, "-m", "reverse", "--target-layers", "11", "-q")
	vkcome(t, "report", out, "-o", filepath.Join(dir, "a.html"))
	refuse(t, 1, "exists already; choose another name, or --force to replace it", "report", out, "-o", filepath.Join(dir, "a.html"))
	for _, name := range []string{"mine.html", "out", "a.html"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCommandLine(t *testing.T) {
	if got, want := commandLine([]string{"prune", "a b", "", "it's", "-m=x,y", "c4;rm"}), `vkcome prune 'a b' '' 'it'\''s' -m=x,y 'c4;rm'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
