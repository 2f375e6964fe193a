package eval_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/eval/task"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

const (
	lmeval   = "../../testdata/lmeval/"
	fixtures = lmeval + "data"
)

// lmevalModels are the models that lm-eval was asked about.
var lmevalModels = []string{"tiny12", "qwen3", "mistral"}

func openLMEval(t testing.TB, name string) *model.Model {
	t.Helper()
	var m *model.Model
	var err error
	if name == "tiny12" {
		m, err = embedded.Open()
	} else {
		m, err = model.Open(lmeval + "models/" + name)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// goldenFile is what lm-eval said of a model, see testdata/lmeval/README.md.
type goldenFile struct {
	MaxLength int `json:"max_length"`
	Runs      []goldenRun
}

type goldenRun struct {
	Name    string
	Tasks   []string
	Shots   int
	Limit   float64
	Samples map[string][]int
	Seed    int64
	Docs    map[string][]goldenDoc

	whole map[string]any // results and the like, as lm-eval wrote them
}

type goldenDoc struct {
	ID       int `json:"doc_id"`
	Target   any
	Requests []string
	Scores   [][]any
	Metrics  map[string]any
	Args     [][]string   `json:"arguments"`
	Tokens   [][][]uint32 `json:"tokens"`
}

// readGZ reads a .json.gz file of testdata/lmeval.
func readGZ(t testing.TB, name string, into any) {
	t.Helper()
	f, err := os.Open(lmeval + name + ".json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(into); err != nil {
		t.Fatal(err)
	}
}

func readGolden(t testing.TB, name string) (g goldenFile) {
	t.Helper()
	var raw struct {
		MaxLength int `json:"max_length"`
		Runs      []json.RawMessage
	}
	readGZ(t, "golden/"+name, &raw)
	g.MaxLength = raw.MaxLength
	for _, r := range raw.Runs {
		var run goldenRun
		if err := json.Unmarshal(r, &run); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(r, &run.whole); err != nil {
			t.Fatal(err)
		}
		g.Runs = append(g.Runs, run)
	}
	if len(g.Runs) == 0 {
		t.Fatal("no runs")
	}
	return g
}

// TestGolden compares with lm-eval: every document's requests, log-likelihoods to 1e-3 and metrics, and what they aggregate to.
func TestGolden(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, name := range lmevalModels {
			t.Run(name, func(t *testing.T) {
				m := openLMEval(t, name)
				for _, run := range readGolden(t, name).Runs {
					t.Run(run.Name, func(t *testing.T) { checkGolden(t, d, m, run) })
				}
			})
		}
	})
}

// big says that nothing is left out to save time: -tags big.
var big bool

// slow says that a device takes some 50 times as long as others.
func slow(d *vk.Device) bool { return !big && strings.Contains(d.Info.Name, "SwiftShader") }

func checkGolden(t *testing.T, d *vk.Device, m *model.Model, want goldenRun) {
	tasks, groups, err := task.Find(want.Tasks)
	if err != nil {
		t.Fatal(err)
	}
	o := eval.TaskOptions{Shots: want.Shots, Limit: want.Limit, Samples: want.Samples, Seed: &want.Seed, Source: task.Source{Dir: fixtures}}
	// All of MMLU after five examples is most of the work of this test; which examples a document has does not depend on the others.
	few := !big && len(tasks) > 50 && want.Shots > 0
	if few && slow(d) {
		t.Skip("it takes minutes on this device: -tags big asks all the same")
	}
	part := few || slow(d) && len(want.Samples) == 0
	if part {
		o.Limit = 1
	}
	r, err := eval.RunTasks(t.Context(), d, m, tasks, groups, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Docs) != len(tasks) {
		t.Errorf("lm-eval has %d tasks, expected %d", len(want.Docs), len(tasks))
	}
	worst := 0.0
	for _, k := range tasks {
		docs := want.Docs[k.Name]
		if part {
			docs = docs[:1]
		}
		got := r.Samples[k.Name]
		if len(got) != len(docs) || len(docs) == 0 {
			t.Fatalf("%s: %d documents, lm-eval has %d", k.Name, len(got), len(docs))
		}
		for i, w := range docs {
			worst = max(worst, checkDoc(t, k, got[i], w))
		}
	}
	t.Logf("log-likelihoods differ by at most %.2g", worst)
	if worst > 1e-3 {
		t.Errorf("log-likelihoods differ by %.2g", worst)
	}
	if part {
		return
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"results", "groups", "group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples"} {
		sameJSON(t, key, got[key], want.whole[key])
	}
	checkRead(t, r, want.whole)
}

// checkRead reads what lm-eval wrote, which makes the same table.
func checkRead(t *testing.T, r *eval.Results, whole map[string]any) {
	raw, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	read, err := eval.ReadResults(file)
	if err != nil {
		t.Fatal(err)
	}
	// Perplexities and bits_per_byte differ in what is printed of them, and acc_macro is not in lm-eval.
	cells := func(table string) (lines []string) {
		for line := range strings.Lines(table) {
			if !strings.Contains(line, "per") && !strings.Contains(line, "acc_macro") && !strings.HasPrefix(line, "|--") {
				lines = append(lines, strings.ReplaceAll(line, " ", ""))
			}
		}
		return lines
	}
	if got, want := cells(r.Table()+r.GroupTable()), cells(read.Table()+read.GroupTable()); !slices.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("table: got %q, want %q", got[i], want[i])
			}
		}
		t.Errorf("tables of %d and %d lines differ", len(got), len(want))
	}
}

func checkDoc(t *testing.T, k *task.Task, got eval.Sample, want goldenDoc) (worst float64) {
	t.Helper()
	at := fmt.Sprintf("%s: document %d", k.Name, want.ID)
	if got.Document != want.ID || fmt.Sprint(got.Target) != fmt.Sprint(want.Target) {
		t.Errorf("%s: got document %d with target %v, want %v", at, got.Document, got.Target, want.Target)
	}
	if len(got.Requests) != len(want.Requests) {
		t.Fatalf("%s: %d requests, want %d", at, len(got.Requests), len(want.Requests))
	}
	for i, q := range got.Requests {
		text := q.Context + "\x00" + q.Continuation
		if k.Output == task.Rolling {
			text = q.Continuation
		}
		if sum := sha256.Sum256([]byte(text)); hex.EncodeToString(sum[:8]) != want.Requests[i] {
			t.Errorf("%s: request %d is another: %q", at, i, q)
		}
		score := want.Scores[i]
		worst = max(worst, math.Abs(got.Answers[i].LogLikelihood-score[0].(float64)))
		if len(score) > 1 && got.Answers[i].Greedy != score[1].(bool) {
			t.Errorf("%s: request %d: greedy %v", at, i, got.Answers[i].Greedy)
		}
	}
	for name, w := range want.Metrics {
		raw, err := json.Marshal(got.Metrics[name])
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		sameJSON(t, at+" "+name, v, w)
	}
	return worst
}

// sameJSON compares all that lm-eval has. Figures that are computed from log-likelihoods may differ as these may.
func sameJSON(t *testing.T, at string, got, want any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok && len(want) > 0 {
			t.Errorf("%s: got %v, want %v", at, got, want)
			return
		}
		for key, w := range want {
			sameJSON(t, at+"."+key, g[key], w)
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			t.Errorf("%s: got %v, want %v", at, got, want)
			return
		}
		for i, w := range want {
			sameJSON(t, fmt.Sprintf("%s[%d]", at, i), g[i], w)
		}
	case float64:
		tolerance := 1e-12
		if strings.Contains(at, "perplexity") || strings.Contains(at, "bits_per_byte") {
			tolerance = 1e-3
		}
		g, ok := got.(float64)
		if !ok || math.Abs(g-want) > tolerance*max(1, math.Abs(want)) {
			t.Errorf("%s: got %v, want %v", at, got, want)
		}
	default:
		if got != want {
			t.Errorf("%s: got %v, want %v", at, got, want)
		}
	}
}

// TestGoldenTokens compares the tokens that requests become.
func TestGoldenTokens(t *testing.T) {
	for _, name := range lmevalModels {
		t.Run(name, func(t *testing.T) { checkTokens(t, name) })
	}
}

func checkTokens(t *testing.T, name string) {
	m := openLMEval(t, name)
	tok, err := tokenizer.LoadFS(m.Name, m.Files)
	if err != nil {
		t.Fatal(err)
	}
	g := readGolden(t, name)
	if g.MaxLength != m.Config.MaxPositionEmbeddings {
		t.Errorf("%s: max_length %d, want %d", name, m.Config.MaxPositionEmbeddings, g.MaxLength)
	}
	e := eval.NewEncoder(tok, g.MaxLength)
	compared := 0
	for _, run := range g.Runs {
		for k, docs := range run.Docs {
			for _, doc := range docs {
				for i, args := range doc.Args {
					if len(args) < 2 || len(doc.Tokens) == 0 || doc.Tokens[i] == nil {
						continue
					}
					before, after := doc.Tokens[i][0], doc.Tokens[i][1]
					whole := append(slices.Clone(before), after...)
					whole = whole[max(0, len(whole)-g.MaxLength-1):]
					got, err := e.Pair(args[0], args[1])
					if err != nil {
						t.Fatal(err)
					}
					if got.Scored != len(after) || !slices.Equal(got.Tokens, whole) {
						t.Errorf("%s: %s: document %d, request %d: got %v, want %v + %v", name, k, doc.ID, i, got, before, after)
					}
					compared++
				}
			}
		}
	}
	if compared < 50 {
		t.Errorf("%s: only %d requests have tokens", name, compared)
	}
}

// TestResultsDoNotDependOnBatch runs tasks in batches of different sizes, and on a device with room for no model.
func TestResultsDoNotDependOnBatch(t *testing.T) {
	tasks, groups, err := task.Find([]string{"come7", "lambada_openai", "mmlu_anatomy", "wikitext"})
	if err != nil {
		t.Fatal(err)
	}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		small, err := vk.Open(vk.Options{Device: fmt.Sprint(d.Info.Index), MaxMemory: 8 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := small.Close(); err != nil {
				t.Error(err)
			}
		}()
		for _, name := range lmevalModels {
			if slow(d) && name == "tiny12" {
				continue
			}
			m := openLMEval(t, name)
			var want string
			for _, c := range []struct {
				d     *vk.Device
				batch int
			}{{d, 0}, {d, 1}, {d, 3}, {d, 16}, {small, 0}, {small, 3}} {
				o := eval.TaskOptions{Shots: 1, Limit: 2, Batch: c.batch, Source: task.Source{Dir: fixtures}}
				r, err := eval.RunTasks(t.Context(), c.d, m, tasks, groups, o)
				if err != nil {
					t.Fatal(err)
				}
				got := outcome(t, r)
				if want == "" {
					want = got
				}
				if got != want {
					t.Errorf("%s: other results with batches of %d and %s of memory", name, c.batch, vk.Bytes(c.d.MemoryLimit()))
				}
			}
		}
	})
}

// outcome is what of results is the same from run to run: the files' bytes without those that tell when and how fast.
func outcome(t testing.TB, r *eval.Results) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := r.Save(filepath.Join(dir, "results.json"), true); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	files, err := filepath.Glob(filepath.Join(dir, "samples_*"))
	if err != nil || len(files) == 0 {
		t.Fatal("no samples", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(raw)
	}
	c := *r
	c.Run, c.Date, c.Seconds, c.Config = nil, 0, "", eval.Config{}
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	all.Write(raw)
	return all.String()
}
