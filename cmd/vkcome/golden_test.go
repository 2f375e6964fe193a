package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/model/safetensors"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/vk/vktest"
)

// The tests of this package drive the built binary and compare with numbers that PyTorch and the authors' code computed.

var program string

func TestMain(m *testing.M) {
	faultyWriter()
	dir, err := os.MkdirTemp("", "vkcome-test-")
	if err != nil {
		panic(err)
	}
	if program = os.Getenv("VKCOME_PROGRAM"); program == "" { // else it was built elsewhere, as for Windows
		program = filepath.Join(dir, "vkcome")
		if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			os.Exit(1)
		}
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, program, args...)
}

// vkcome runs the binary and returns its stdout; a failure, or a word from the validation layer, fails the test.
func vkcome(t *testing.T, args ...string) []byte {
	t.Helper()
	out, stderr, code := try(t, args...)
	if code != 0 {
		t.Fatalf("vkcome %s: exit %d: %s", strings.Join(args, " "), code, stderr)
	}
	return out
}

func try(t *testing.T, args ...string) (stdout []byte, stderr string, code int) {
	t.Helper()
	cmd := command(t.Context(), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.Bytes(), errs.String(), cmd.ProcessState.ExitCode()
}

const (
	goldenDir = "../../testdata/golden"
	calib     = goldenDir + "/calib_tokens.json"
	evalSet   = goldenDir + "/eval_tokens.json"
)

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parseJSON(t, bytes.ReplaceAll(raw, []byte("Infinity"), []byte("-1")), v) // Python writes what JSON lacks
}

func parseJSON(t *testing.T, raw []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("%v in %.200s", err, raw)
	}
}

type goldenRun struct {
	Tree  any
	Steps []struct {
		MergeList []int `json:"merge_list"`
		Ratio     []float64
	}
	PPL float64
}

func expected(t *testing.T) map[string]goldenRun {
	var raw map[string]json.RawMessage
	readJSON(t, goldenDir+"/expected.json", &raw)
	runs := map[string]goldenRun{}
	for name, r := range raw {
		var run goldenRun
		if json.Unmarshal(r, &run) == nil && run.PPL > 0 {
			runs[name] = run
		}
	}
	return runs
}

func perplexity(t *testing.T, dir string, flags ...string) float64 {
	t.Helper()
	var p eval.Perplexity
	parseJSON(t, vkcome(t, append([]string{"eval", "ppl", dir, "--tokens", evalSet, "--window", "128", "--json", "-q"}, flags...)...), &p)
	if p.Windows != 128 || p.TokensScored != 128*127 {
		t.Errorf("scored %d tokens of %d windows, want %d of 128", p.TokensScored, p.Windows, 128*127)
	}
	if math.Abs(math.Log(p.Perplexity)-p.MeanNLL) > 1e-9 {
		t.Errorf("perplexity %v is not exp of mean_nll %v", p.Perplexity, p.MeanNLL)
	}
	return p.Perplexity
}

func within(t *testing.T, what string, got, want, relative float64) {
	t.Helper()
	if !(math.Abs(got/want-1) <= relative) {
		t.Errorf("%s is %.6f, want %.6f within %.3g %%: off by %.3g %%", what, got, want, 100*relative, 100*math.Abs(got/want-1))
	}
	t.Logf("%s: %.6f, golden %.6f", what, got, want)
}

func TestPerplexityGolden(t *testing.T) {
	within(t, "dense perplexity", perplexity(t, embedded.Name), expected(t)["dense"].PPL, 0.001)
}

func TestLogitsGolden(t *testing.T) {
	var g struct {
		Tokens, Positions []int
		Logits            [][]float64
	}
	readJSON(t, goldenDir+"/logits.json", &g)
	raw, err := json.Marshal(g.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	ids := filepath.Join(t.TempDir(), "ids.json")
	if err := os.WriteFile(ids, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	all := logitsOf(t, embedded.Name, ids)
	for i, p := range g.Positions {
		vktest.Near(t, all[p*len(g.Logits[i]):(p+1)*len(g.Logits[i])], g.Logits[i], "model logits", "BF16")
	}
}

func TestGenerateGolden(t *testing.T) {
	var cases []struct {
		Prompt       string
		PromptTokens []int `json:"prompt_tokens"`
		NewTokens    []int `json:"new_tokens"`
		Text         string
	}
	readJSON(t, goldenDir+"/generate.json", &cases)
	for _, c := range cases {
		got := c
		got.PromptTokens, got.NewTokens, got.Text = nil, nil, ""
		parseJSON(t, vkcome(t, "generate", embedded.Name, "-p", c.Prompt, "-n", fmt.Sprint(len(c.NewTokens)), "--json", "-q"), &got)
		if !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v\nwant %+v", got, c)
		}
	}
}

// pruned runs prune, by come unless flags say otherwise, and returns the folder and its lineage.
func pruned(t *testing.T, flags ...string) (string, prune.Lineage) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	var l prune.Lineage
	parseJSON(t, vkcome(t, append([]string{"prune", embedded.Name, out, "--method", "come", "--tokens", calib, "--window", "128", "--json", "-q"}, flags...)...), &l)
	return out, l
}

func TestPruneGolden(t *testing.T) {
	want := expected(t)
	for _, c := range []struct {
		name  string
		flags []string
		then  func(t *testing.T, out string, l prune.Lineage)
	}{
		{"come_10", []string{"--target-layers", "10"}, nil},
		{"come_9", []string{"--target-layers", "9"}, inAnotherReader},
		{"come_8", []string{"--target-layers", "8"}, inSmallMemory},
		{"come_reference_compat_10", []string{"--target-layers", "10", "--compat=reference"}, nil},
		{"come_reference_compat_9", []string{"--target-layers", "9", "--compat=reference"}, nil},
		{"come_reference_compat_8", []string{"--target-layers", "8", "--compat=reference"}, nil},
		{"come_8_repeat", []string{"--target-layers", "8", "--no-repeat=false"}, nil},
		{"come_8_psu2_min0.8", []string{"--target-layers", "8", "--psu", "2", "--min-max", "0.8"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := want[c.name]
			out, l := pruned(t, c.flags...)
			tree, err := json.Marshal(l.Tree)
			if err != nil {
				t.Fatal(err)
			}
			wantTree, err := json.Marshal(w.Tree)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(tree, wantTree) {
				t.Errorf("tree %s, want %s", tree, wantTree)
			}
			if len(l.Steps) != len(w.Steps) {
				t.Fatalf("%d steps, want %d", len(l.Steps), len(w.Steps))
			}
			for i, s := range l.Steps {
				if !reflect.DeepEqual(s.MergeList, w.Steps[i].MergeList) {
					t.Errorf("step %d merges %v, want %v", i, s.MergeList, w.Steps[i].MergeList)
				}
				for k, r := range s.Ratio {
					if math.Abs(r-w.Steps[i].Ratio[k]) > 1e-3 {
						t.Errorf("step %d: ratio %v, want %v", i, s.Ratio, w.Steps[i].Ratio)
					}
				}
			}
			within(t, "perplexity", perplexity(t, out), w.PPL, 0.003)
			full := 0
			for _, s := range l.Steps {
				full += s.From
			}
			p := l.LayerPasses
			t.Logf("%+v layer passes", p)
			if p.Full != full || math.Abs(p.Done+p.Saved-float64(full)) > 1e-9 || p.Done > 0.6*float64(full) && full == 12+11+10+9 {
				t.Errorf("%+v layer passes: want at most 60 %% of %d", p, full)
			}
			if c.then != nil {
				c.then(t, out, l)
			}
		})
	}
}

// inAnotherReader reads a written folder with model/ref's own decoder and forward pass.
func inAnotherReader(t *testing.T, out string, _ prune.Lineage) {
	m, err := ref.LoadModel(out)
	if err != nil {
		t.Fatal(err)
	}
	var tokens []int
	readJSON(t, evalSet, &tokens)
	tokens = tokens[:128]
	ids := filepath.Join(t.TempDir(), "ids.json")
	raw, err := json.Marshal(tokens)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ids, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	vktest.Near(t, logitsOf(t, out, ids), m.Logits(tokens).Data, "model logits", "BF16")
}

// logitsOf runs the logits verb and reads what it wrote.
func logitsOf(t *testing.T, dir, ids string, flags ...string) []float32 {
	t.Helper()
	file := filepath.Join(t.TempDir(), "logits.safetensors")
	vkcome(t, append([]string{"logits", dir, "--tokens", ids, "--out", file, "-q"}, flags...)...) // one window: the file's tokens
	c, err := safetensors.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	x, ok := c.Lookup("logits")
	if !ok || len(x.Shape) != 3 {
		t.Fatalf("tensor logits: %v %v", ok, x.Shape)
	}
	d, err := x.Float()
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, x.NumElements())
	raw, err := x.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d.Decode(values, raw)
	return values
}

// inSmallMemory prunes again within 8 MiB of device memory: states spill to the host, weights stream, and the bytes stay the same.
// With fewer rounds more scores are computed; the lineages agree on those that both have.
func inSmallMemory(t *testing.T, out string, l prune.Lineage) {
	small, smallLineage := pruned(t, "--target-layers", "8", "--max-device-memory", "8MiB")
	for i, s := range l.Steps {
		other := smallLineage.Steps[i]
		for _, pair := range [][2]method.Scores{{s.BI, other.BI}, {s.SBI, other.SBI}} {
			for k, v := range pair[0] {
				if w := pair[1][k]; v != w && !math.IsNaN(v) && !math.IsNaN(w) {
					t.Errorf("step %d: score %d is %v, in little memory %v", i, k, v, w)
				}
			}
		}
		other.BI, other.SBI = s.BI, s.SBI
	}
	smallLineage.LayerPasses = l.LayerPasses
	if a, b := inFull(t, l), inFull(t, smallLineage); a != b {
		t.Errorf("lineages differ:\n%s\n%s", a, b)
	}
	for _, name := range []string{"model.safetensors", "config.json"} {
		a, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(small, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs between 8 MiB and all of the device's memory", name)
		}
	}
}

func inFull(t *testing.T, l prune.Lineage) string {
	t.Helper()
	raw, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	cmd := command(t.Context(), "prune", embedded.Name, filepath.Join(dir, "out"), "--method", "come", "--tokens", calib, "--window", "128", "--target-layers", "8", "-q")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("exit %v: %s", err, stderr.String())
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left { // the steps that were done by then, if any
		if e.Name() != filepath.Base(prune.DefaultWork("out")) || !strings.Contains(stderr.String(), "--resume to go on") {
			t.Errorf("left behind: %s, after %s", e.Name(), stderr.String())
		}
	}
}
