package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
)

// TestStandardStreams: output.go alone names the standard streams, and the library none.
func TestStandardStreams(t *testing.T) {
	mayPrint := regexp.MustCompile(`/gen/|/(ref|modeltest|vktest|optest|hubtest)/`) // tests and generators
	set := token.NewFileSet()
	files := 0
	for _, root := range []string{".", "../../model", "../../prune", "../../vk", "../../shaders"} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || mayPrint.MatchString(path) || path == "output.go" {
				return err
			}
			f, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			files++
			ast.Inspect(f, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				name := fmt.Sprintf("%v.%s", s.X, s.Sel.Name)
				if name == "os.Stdout" || name == "os.Stderr" || strings.HasPrefix(name, "fmt.Print") || strings.HasPrefix(name, "log.") {
					t.Errorf("%s: %s", set.Position(s.Pos()), name)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 100 {
		t.Errorf("%d files", files)
	}
}

// everyVerb are command lines of each verb that print something and take little time, by the verb.
func everyVerb(t *testing.T) map[string][]string {
	dir := t.TempDir()
	n := 0
	fresh := func() string { n++; return filepath.Join(dir, fmt.Sprint("out", n)) }
	model := t.TempDir()
	small.Write(t, model)
	ids := filepath.Join(dir, "ids.json")
	if err := os.WriteFile(ids, []byte(`[`+strings.Repeat("1,2,3,4,", 64)+`5]`), 0o644); err != nil {
		t.Fatal(err)
	}
	on := func(args ...string) []string { return append(args, "--tokens", ids, "--window", "16") }
	pruned, stats, part, whole := fresh(), fresh(), fresh(), fresh()
	vkcome(t, on("prune", model, pruned, "--target-layers", "3", "--method", "come", "-q")...)
	vkcome(t, on("stats", model, stats, "-q")...)
	training := []string{"--batch", "4", "--held-out", "4", "--budget-tokens", "64"}
	vkcome(t, append(on("distill", model, pruned, part, "--shard", "0/1", "-q"), training...)...)
	vkcome(t, "distill", "merge", whole, part, "-q")
	results, report := hostileResults(t, dir, "a.json", nil), hostileReport(t, dir, nil)
	return map[string][]string{
		"devices": {"devices"}, "inspect": {"inspect", model}, "version": {"version"}, "card": {"card", pruned}, "convert": {"convert", model, fresh(), "--json"},
		"auto":  on("auto", model, fresh(), "--target-layers", "3", "--budget", "10s", "--no-heal"),
		"prune": on("prune", model, fresh(), "--target-layers", "3"), "refit": on("refit", model, pruned, fresh()),
		"distill": append(on("distill", model, pruned, fresh()), training...), "distill merge": {"distill", "merge", fresh(), part},
		"compare": append(on("compare", model, "--depths", "3", "--methods", "shortgpt"), "--eval-tokens", ids),
		"stats":   on("stats", model, fresh()), "stats merge": {"stats", "merge", fresh(), stats},
		"eval ppl": on("eval", "ppl", model), "eval kld": on("eval", "kld", model, "--base", model), "eval tasks": {"eval", "tasks", "--list"},
		"eval compare": {"eval", "compare", results, results}, "logits": on("logits", model, "--out", fresh()),
		"generate": {"generate", embedded.Name, "--prompt", "The", "-n", "3"}, "tokenize": {"tokenize", embedded.Name, "The"},
		"bench": {"bench", "-r", "1", "--ops", "none"}, "bench compare": {"bench", "compare", report, report},
		"report": {"report", pruned, "-o", fresh()}, "tune": {"tune", "-r", "1", "--shapes", "1x64x64", "--json"}, "demo": {"demo"}, "ui": {"ui", "--no-open"},
	}
}

// TestFullStdout runs every verb with a standard output that is full: exit 1 and one line.
func TestFullStdout(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full")
	}
	defer full.Close()
	lines := everyVerb(t)
	check := func(args ...string) {
		t.Helper()
		cmd := command(t.Context(), args...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		err := cmd.Run()
		if code := cmd.ProcessState.ExitCode(); err == nil || code != 1 || stderr.String() != "vkcome: stdout: no space left on device\n" {
			t.Errorf("vkcome %s: exit %d: %s", strings.Join(args, " "), code, stderr.String())
		}
	}
	check()
	check("--help")
	check("--version")
	check("version", "--licenses")
	for _, v := range verbs {
		args, ok := lines[v.name]
		if !ok {
			t.Errorf("no line of %s", v.name)
			continue
		}
		check(append(strings.Fields(v.name), "--help")...)
		args = slices.Clone(args)
		if !slices.Contains([]string{"version", "bench compare"}, v.name) {
			args = append(args, "-q")
		}
		check(args...)
		if slices.Contains([]string{"devices", "inspect", "eval ppl", "eval tasks", "eval compare", "generate", "tokenize", "bench compare"}, v.name) {
			check(append(args, "--json")...)
		}
	}
}

// TestBrokenPipe: who reads no further is told nothing, and the program ends as others do.
func TestBrokenPipe(t *testing.T) {
	for _, args := range [][]string{
		{"--help"}, {"version"}, {"eval", "tasks", "--list"}, {"tokenize", embedded.Name, "The layers"}, {"generate", embedded.Name, "-p", "The", "-n", "100000", "--ignore-eos", "-q"}, {"inspect", embedded.Name, "--json"},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd := command(t.Context(), args...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &stderr
		err = cmd.Run()
		w.Close()
		if err == nil || !endedByPipe(cmd.ProcessState) || stderr.String() != "" {
			t.Errorf("%v: %v: %s", args, err, stderr.String())
		}
	}
}

// controls are what a terminal obeys, in names of files.
var controls = []string{"\x1b[31mred", "\x1b]0;title\x07", "\x1b[2J\x1b[H", "\r\x1b[K", "\u009b31m", "\x9b31m", "\u202ecba\u202c", "\u2066x\u2069", "\x00", "\x08\x08", "\x7f", "\n\nvkcome: forged", "\u2028", "\u0085"}

// hostile is a name with some of them.
func hostile(rng *rand.Rand) string {
	var b strings.Builder
	for range 1 + rng.IntN(3) {
		b.WriteString("n" + controls[rng.IntN(len(controls))])
	}
	return b.String()
}

// safe refuses text that a terminal obeys.
func safe(t *testing.T, what, text string) {
	t.Helper()
	for i, r := range text {
		if r == 0xfffd && !strings.HasPrefix(text[i:], "\ufffd") || r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029 {
			t.Errorf("%s: %q at %d of %.2000q", what, r, i, text)
			return
		}
	}
	if strings.Contains(text, "\nvkcome: forged") {
		t.Errorf("%s: a line is forged: %.2000q", what, text)
	}
}

// renamed is a JSON value with other texts and keys: what name gives for them, nil for the same.
func renamed(v any, name func(text string) string) any {
	switch v := v.(type) {
	case string:
		return name(v)
	case []any:
		for i := range v {
			v[i] = renamed(v[i], name)
		}
	case map[string]any:
		for key, x := range v {
			v[key] = renamed(x, name)
		}
	}
	return v
}

// hostileReport writes a report of bench whose texts a function changes.
func hostileReport(t *testing.T, dir string, name func(string) string) string {
	t.Helper()
	raw, err := os.ReadFile("../../testdata/bench/lavapipe-22.3.6.json")
	if err != nil {
		t.Fatal(err)
	}
	var v any
	parseJSON(t, raw, &v)
	if name != nil {
		v = renamed(v, name)
	}
	return writeJSON(t, filepath.Join(dir, "report.json"), v)
}

// hostileResults writes results of eval tasks with names that a function changes.
func hostileResults(t *testing.T, dir, file string, name func(string) string) string {
	t.Helper()
	if name == nil {
		name = func(text string) string { return text }
	}
	results, shots, versions, documents := map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}
	for _, task := range []string{"arc_easy", "piqa", name("some task")} {
		results[task] = map[string]any{"alias": name(task), "acc,none": 0.5, "acc_stderr,none": 0.1, name("metric") + ",none": 0.25}
		shots[task], versions[task], documents[task] = 0, 1.0, map[string]any{"original": 10, "effective": 10}
	}
	return writeJSON(t, filepath.Join(dir, file), map[string]any{
		"results": results, "n-shot": shots, "versions": versions, "n-samples": documents, "model_name": name("model"), "group_subtasks": map[string]any{name("group"): []string{"arc_easy", name("some task")}},
	})
}

func writeJSON(t *testing.T, path string, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHostileNames: no name in a file makes a terminal do anything, in tables and in errors.
func TestHostileNames(t *testing.T) {
	rng := rand.New(rand.NewPCG(16, 12))
	run := func(args ...string) {
		t.Helper()
		stdout, stderr, _ := try(t, args...)
		safe(t, args[0]+" stdout", string(stdout))
		safe(t, args[0]+" stderr", stderr)
	}
	dir := t.TempDir()
	folder := t.TempDir()
	small.Write(t, folder)
	for range 12 {
		name := func(string) string { return hostile(rng) }
		same := hostile(rng)
		tasks := func(text string) string { return same + text }
		report := hostileReport(t, dir, name)
		run("bench", "compare", report, report)
		run("bench", "compare", report, filepath.Join(dir, strings.ReplaceAll(hostile(rng), "\x00", "")))
		a := hostileResults(t, dir, "a.json", tasks)
		run("eval", "compare", a, a)
		run("eval", "compare", a, hostileResults(t, dir, "b.json", func(text string) string { return text + same + "!" }))
		run("inspect", strings.ReplaceAll(hostile(rng), "\x00", ""))
		for _, file := range []string{"config.json", "tokenizer.json", "generation_config.json"} {
			path := filepath.Join(folder, file)
			before, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			v := map[string]any{}
			if before != nil {
				parseJSON(t, before, &v)
			}
			v[hostile(rng)], v["model_type"], v["bos_token_id"] = 1, hostile(rng), hostile(rng)
			writeJSON(t, path, v)
			run("inspect", folder)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if before != nil {
				if err := os.WriteFile(path, before, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		weights := filepath.Join(folder, "model.safetensors")
		raw, err := os.ReadFile(weights)
		if err != nil {
			t.Fatal(err)
		}
		header, err := json.Marshal(map[string]any{hostile(rng): map[string]any{"dtype": hostile(rng), "shape": []int{1}, "data_offsets": []int{0, 4}}})
		if err != nil {
			t.Fatal(err)
		}
		damaged := append([]byte{byte(len(header)), byte(len(header) >> 8), 0, 0, 0, 0, 0, 0}, append(header, 0, 0, 0, 0)...)
		if err := os.WriteFile(weights, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		run("inspect", folder)
		if err := os.WriteFile(weights, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGeneratedText: what a model writes is left as it is in a pipe, and made safe on a terminal.
func TestGeneratedText(t *testing.T) {
	const prompt = "a\x1b[31mb\u009bc\r\nd"
	args := []string{"generate", embedded.Name, "--raw", "--prompt", prompt, "-n", "1", "-q"}
	if got := string(vkcome(t, args...)); !strings.HasPrefix(got, prompt) {
		t.Errorf("pipe: %q", got)
	}
	got := onTTY(t, args...)
	safe(t, "terminal", regexp.MustCompile(`\r+\n`).ReplaceAllString(got, "\n")) // terminals end lines so
	if !strings.Contains(got, `a\u001b[31mb\u009bc`) {
		t.Errorf("terminal: %q", got)
	}
	var out struct{ Prompt string }
	parseJSON(t, []byte(onTTY(t, append(args, "--json")...)), &out)
	if out.Prompt != prompt {
		t.Errorf("JSON on a terminal: %q", out.Prompt)
	}
}

// onTTY runs the binary with a pseudo-terminal as its standard output and gives what the terminal got.
func onTTY(t *testing.T, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "typescript")
	line := shellQuoted(append([]string{program}, args...))
	if out, err := exec.CommandContext(t.Context(), "script", "-qec", line, file).CombinedOutput(); err != nil {
		t.Fatalf("script: %v: %s", err, out)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if _, after, ok := strings.Cut(text, "\n"); ok && strings.HasPrefix(text, "Script started") {
		text = after
	}
	if before, _, ok := strings.Cut(text, "\nScript done"); ok {
		text = before
	}
	return text
}

func shellQuoted(words []string) string {
	var list []string
	for _, w := range words {
		list = append(list, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
	}
	return strings.Join(list, " ")
}

// TestLongMessages: whatever is in a file, a message is a line of a few kilobytes.
func TestLongMessages(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("n\n", 5<<20)
	folder := t.TempDir()
	small.Write(t, folder)
	results := func(file, task string) string {
		return writeJSON(t, filepath.Join(dir, file), map[string]any{"results": map[string]any{task: map[string]any{"acc,none": 1}}})
	}
	weights := filepath.Join(folder, "model.safetensors")
	header, err := json.Marshal(map[string]any{long: map[string]any{"dtype": "X", "shape": []int{1}, "data_offsets": []int{0, 4}}})
	if err != nil {
		t.Fatal(err)
	}
	raw := append([]byte{byte(len(header)), byte(len(header) >> 8), byte(len(header) >> 16), 0, 0, 0, 0, 0}, append(header, 0, 0, 0, 0)...)
	if err := os.WriteFile(weights, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"eval", "compare", results("a.json", long), results("b.json", "x")},
		{"eval", "compare", writeJSON(t, filepath.Join(dir, "c.json"), map[string]any{"results": long}), results("d.json", "x")},
		{"inspect", folder}, {"inspect", strings.Repeat("n", 100_000)},
	} {
		stdout, stderr, code := try(t, args...)
		if code != 1 || len(stderr) > maxMessage+16 || strings.Count(stderr, "\n") != 1 || len(stdout) > 0 {
			t.Errorf("%.200s: exit %d, %d bytes, %d lines: %.300q", strings.Join(args, " "), code, len(stderr), strings.Count(stderr, "\n"), stderr)
		}
	}
	same := results("e.json", long)
	if out := vkcome(t, "eval", "compare", same, same); len(out) > 10_000 {
		t.Errorf("a table of %d bytes", len(out))
	}
}

// TestPlainWords: messages about files are in the words of whoever wrote them, without types of Go.
func TestPlainWords(t *testing.T) {
	dir := t.TempDir()
	folder := t.TempDir()
	small.Write(t, folder)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := hostileResults(t, dir, "good.json", nil)
	var bad []string
	values := []string{`1`, `"x"`, `[1]`, `{"a":1}`, `true`, `-1.5`, `1e400`, `[`, ``, `{"a":{"b":[]}}`}
	for i, v := range values {
		bad = append(bad, write(fmt.Sprintf("bad%d.json", i), v))
		for k, key := range []string{"results", "n-samples", "versions", "group_subtasks", "schema", "device", "steps", "tree", "layers"} {
			bad = append(bad, write(fmt.Sprintf("bad%d-%d.json", i, k), fmt.Sprintf(`{"schema":1,%q:%s}`, key, v)))
		}
	}
	check := func(args ...string) {
		t.Helper()
		_, stderr, code := try(t, args...)
		if code != 0 && (code > 2 || strings.Count(stderr, "\n") != 1) || regexp.MustCompile(`Go value|Go struct|json: (cannot|invalid|unknown|unsupported)|map\[string|interface|float64|\[\]uint|[a-z]+\.[A-Z][a-z]+\.`).MatchString(stderr) {
			t.Errorf("%s: exit %d: %s", strings.Join(args, " "), code, stderr)
		}
	}
	for _, file := range bad {
		check("eval", "compare", good, file)
		check("bench", "compare", file, file)
	}
	for i, v := range values {
		check("eval", "tasks", folder, "--tasks", "piqa", "--samples", bad[i*10], "-q")
		check("prune", folder, filepath.Join(dir, "out"), "--plan", bad[i*10], "-q")
		for _, key := range []string{"steps", "tree", "original_layers", "source"} {
			check("prune", folder, filepath.Join(dir, "out"), "--plan", write("plan.json", fmt.Sprintf(`{%q:%s}`, key, v)), "-q")
		}
	}
}
