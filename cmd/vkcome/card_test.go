package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune/card"
)

// commandIn is a command of a card, in words.
var commandIn = regexp.MustCompile(`(?m)^vkcome [a-z].*$`)

// commandsOf are the commands of the card of a folder, in words, without the program.
func commandsOf(t *testing.T, dir string) (list [][]string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, card.File))
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(raw), "## Commands")
	if !ok || !card.Sealed(raw) {
		t.Fatalf("no commands in %s", raw)
	}
	block, _, _ = strings.Cut(block, "## Use")
	for _, line := range commandIn.FindAllString(block, -1) {
		list = append(list, strings.Fields(line)[1:])
	}
	return list
}

// TestCardCommands runs the commands that cards give: they make the same models again, with the same lineages and cards.
func TestCardCommands(t *testing.T) {
	dir := t.TempDir()
	m, ids := filepath.Join(dir, "m"), filepath.Join(dir, "ids.json")
	spec := small
	spec.Layers = 6
	if err := os.Mkdir(m, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := spec.WriteTo(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ids, []byte(`[`+strings.Repeat("1,2,3,4,9,", 70)+`5]`), 0o644); err != nil {
		t.Fatal(err)
	}
	on := []string{"--tokens", ids, "--window", "16", "--samples", "6", "--seed", "7"}
	training := []string{"--batch", "4", "--held-out", "4", "--budget-tokens", "64"}
	made := func(t *testing.T, name string, args ...string) string {
		t.Helper()
		out := filepath.Join(dir, name)
		vkcome(t, append(append(args[:1:1], append([]string{m}, args[1:]...)...), out, "-q")...)
		return out
	}
	with := func(args []string, more ...string) []string { return append(append([]string{}, args...), more...) }
	pruned := made(t, "pruned", with([]string{"prune", "--method", "shortgpt", "--target-layers", "5"}, on...)...)
	for name, args := range map[string][]string{
		"come":    with([]string{"prune", "--method", "come", "--target-layers", "4", "--compat", "reference", "--no-repeat=false", "--psu", "2.5", "--min-max", "0.25", "--protect", "0,-1", "--sensitivity", "random"}, on...),
		"come-p":  with([]string{"prune", "--method", "come-p", "--target-layers", "5", "--granularity", "3"}, on...),
		"default": with([]string{"prune", "--target-layers", "5"}, on...),
		"greedy":  with([]string{"prune", "--method", "greedy", "--target-layers", "5", "--candidates", "2", "--refit", "--fit-end", "--fit-held-out", "3", "--lambda", "0.1,1"}, on...),
		"laco":    with([]string{"prune", "--method", "laco", "--target-layers", "4", "--merge-item", "3", "--similarity", "0.9"}, on...),
		"drop":    {"prune", "--method", "drop", "--layers", "1,3"},
		"plus":    {"prune", "--method", "magnitude+", "--target-layers", "5"},
		"healed":  with(append([]string{"prune", "--method", "mka", "--target-layers", "5", "--heal", "sp", "--loss", "cos"}, training...), on...),
		"fitted":  with([]string{"refit", pruned, "--fit-held-out", "3"}, on...),
		"trained": with(append([]string{"distill", pruned, "--rank", "2", "--moments", "bf16"}, training...), on[0], on[1], "--window", "16", "--samples", "14", "--seed", "2"),
	} {
		t.Run(name, func(t *testing.T) {
			out := made(t, name, args...)
			commands := commandsOf(t, out)
			again := ""
			for i, c := range commands {
				names := map[string]string{"MODEL": m, "OUT": filepath.Join(dir, name+"-again"), "OUT2": filepath.Join(dir, name+"-again2")}
				var line []string
				for k := 0; k < len(c); k++ {
					switch {
					case c[k] == "--text":
						k++
						line = append(line, "--tokens", ids)
					case c[k] == "--heal-text": // tokens, if the calibration is tokens
						k++
					case names[c[k]] != "":
						line = append(line, names[c[k]])
					default:
						line = append(line, c[k])
					}
				}
				vkcome(t, append(line, "-q")...)
				again = names["OUT"]
				if i > 0 {
					again = names["OUT2"]
				}
			}
			want, got := contents(t, out), contents(t, again)
			for _, file := range []string{model.Lineage, card.File, "model.safetensors"} {
				if got[file] != want[file] || want[file] == "" {
					t.Errorf("%v gave another %s", commands, file)
				}
			}
		})
	}
	// A search depends on the machine's speed: its command has flags that there are.
	out := made(t, "searched", append(with([]string{"auto", "--target-layers", "5", "--budget", "15s", "--no-heal"}, on[:4]...), "--samples", "8")...)
	for _, c := range commandsOf(t, out) {
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		autoVerb.flags(f)
		if err := f.Parse(c[1:]); err != nil || c[0] != "auto" || f.Lookup("budget").Value.String() != "15s" || f.Lookup("samples").Value.String() != "8" {
			t.Errorf("%v: %v", c, err)
		}
	}
	if raw, err := os.ReadFile(filepath.Join(out, card.File)); err != nil || !strings.Contains(string(raw), "The search that chose the method measured perplexities") {
		t.Errorf("nothing of the search in %s, %v", raw, err)
	}
}

// TestCardVerb writes a card again: in the folder, with a name and results, elsewhere, and never over another file.
func TestCardVerb(t *testing.T) {
	dir := t.TempDir()
	m, out := filepath.Join(dir, "m"), filepath.Join(dir, "out")
	if err := os.Mkdir(m, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := small.WriteTo(m); err != nil {
		t.Fatal(err)
	}
	vkcome(t, "prune", m, out, "-m", "reverse", "--target-layers", "3", "-q")
	path := filepath.Join(out, card.File)
	if got := string(vkcome(t, "card", out, "--base-model", "some/model")); got != path+"\n" {
		t.Errorf("printed %q", got)
	}
	var told struct{ Card string }
	parseJSON(t, vkcome(t, "card", out, "--json"), &told)
	first, err := os.ReadFile(path)
	if err != nil || told.Card != path || !strings.Contains(string(first), "# some/model, 3 of 4 layers") {
		t.Errorf("%v: %s, %v", told, first, err)
	}
	vkcome(t, "prune", m, out, "-m", "reverse", "--target-layers", "3", "--force", "-q") // all in it is vkcome's
	vkcome(t, "card", out, "--base-model", "some/model", "-q")

	gguf := filepath.Join(dir, "out.gguf")
	vkcome(t, "prune", embedded.Name, gguf, "-m", "reverse", "--target-layers", "3", "-q")
	refuse(t, 1, "--out", "card", gguf)
	refuse(t, 1, "no model that vkcome made", "card", m)
	refuse(t, 1, "--base-model", "card", out, "--base-model", "/home/x")
	refuse(t, 1, "results", "card", out, "--results", filepath.Join(dir, "none.json"))
	vkcome(t, "card", gguf, "-o", filepath.Join(dir, "gguf.md"), "-q")
	// What a GGUF tells of its licence, its languages and its base goes into the card of the folder that is made of it; what convert makes of a
	// folder keeps its card, and of a GGUF gets one.
	hf, carded, of, back := filepath.Join(dir, "hf"), filepath.Join(dir, "carded.gguf"), filepath.Join(dir, "of-gguf"), filepath.Join(dir, "back")
	vkcome(t, "convert", embedded.Name, hf, "-q")
	if err := os.WriteFile(filepath.Join(hf, card.File), []byte("---\nlicense: apache-2.0\nlanguage: [de, fr]\nbase_model: owner/base\n---\n# The original's\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	vkcome(t, "convert", hf, carded, "-q")
	vkcome(t, "prune", carded, of, "-m", "reverse", "--target-layers", "3", "-q")
	vkcome(t, "convert", gguf, back, "-q")
	vkcome(t, "card", back, "-q")
	vkcome(t, "convert", hf, hf+"2", "-q")
	for path, want := range map[string]string{of: "---\nbase_model:\n  - owner/base\nbase_model_relation: finetune\nlibrary_name: transformers\nlicense: apache-2.0\nlanguage:\n  - de\n  - fr\n", back: "3 of 12 layers", hf + "2": "# The original's\n"} {
		if raw, err := os.ReadFile(filepath.Join(path, card.File)); err != nil || !strings.Contains(string(raw), want) {
			t.Errorf("the card in %s is %s, %v; want %q in it", path, raw, err, want)
		}
	}
	if err := os.WriteFile(path, append(first, "mine\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	refuse(t, 1, "it will not be replaced; name another file (--out)", "card", out)
	refuse(t, 1, card.File, "prune", m, out, "-m", "reverse", "--target-layers", "3", "--force", "-q")
	if raw, err := os.ReadFile(path); err != nil || string(raw) != string(first)+"mine\n" {
		t.Errorf("the changed card is %s, %v", raw, err)
	}
}

// TestCardFaults lets each step of writing a card in a folder fail: the card is the old or the new one, nothing else is left, and the next run ends
// with what a run without a fault gives.
func TestCardFaults(t *testing.T) {
	from := faultModel(t)
	student := filepath.Join(from, "student")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "steps")
	args := func(dir string) []string { return []string{"card", dir, "--base-model", "some/model", "-q"} }
	copied := func() string {
		dir := filepath.Join(t.TempDir(), "m")
		if err := os.CopyFS(dir, os.DirFS(student)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	whole := copied()
	if e := ran(t, append(fast(), stepsFile+"="+list), self, args(whole)...); e.code != 0 {
		t.Fatal(e)
	}
	old, want := contents(t, student), contents(t, whole)
	steps, err := os.ReadFile(list)
	if err != nil || old[card.File] == want[card.File] {
		t.Fatalf("the card is the same, %v", err)
	}
	n := strings.Count(string(steps), "\n")
	if n < 8 {
		t.Errorf("%d steps: the test shows little: %s", n, steps)
	}
	for k := 1; k <= n; k++ {
		dir := copied()
		e := ran(t, append(fast(), stepsFile+"="+list, failedStep+"="+fmt.Sprint(k)), self, args(dir)...)
		got := contents(t, dir)
		if e.code != 1 || strings.Count(e.stderr, "\n") != 1 || len(got) != len(old) || got[card.File] != old[card.File] && got[card.File] != want[card.File] {
			t.Errorf("step %d: %+v; %d files, want %d; card %s", k, e, len(got), len(old), got[card.File])
		}
		if e := ran(t, fast(), program, args(dir)...); e.code != 0 {
			t.Errorf("after step %d: %+v", k, e)
		}
		sameFiles(t, dir, want)
	}
}
