package task

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goldens = "../../../testdata/lmeval"

// goldenRun is what lm-eval said of a model; see the README of testdata/lmeval.
type goldenRun struct {
	Name     string
	Tasks    []string
	Shots    int
	Limit    float64
	Samples  map[string][]int
	Seed     int64
	Results  map[string]map[string]any
	Versions map[string]any
	Higher   map[string]map[string]any                    `json:"higher_is_better"`
	Counts   map[string]struct{ Original, Effective int } `json:"n-samples"`
	Docs     map[string][]struct {
		ID        int `json:"doc_id"`
		Target    any
		Requests  []string
		Scores    [][]any
		Metrics   map[string]any
		Arguments [][]string
		Hash      string `json:"doc_hash"` // "" where it is not said
	}
}

func goldenRuns(t *testing.T) map[string][]goldenRun {
	t.Helper()
	files := []string{filepath.Join(goldens, "hashed.json.gz")}
	for _, model := range []string{"tiny12", "qwen3", "mistral"} {
		files = append(files, filepath.Join(goldens, "golden", model+".json.gz"))
	}
	out := map[string][]goldenRun{}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		var golden struct{ Runs []goldenRun }
		if err := json.NewDecoder(z).Decode(&golden); err != nil || len(golden.Runs) == 0 {
			t.Fatalf("%s: %d runs, %v", path, len(golden.Runs), err)
		}
		out[strings.TrimSuffix(filepath.Base(path), ".json.gz")] = golden.Runs
	}
	return out
}

// TestGolden: of every document lm-eval's requests to the byte and its target; of the log-likelihoods that its models gave, its metrics, and
// its results of tasks and groups. The models are those of testdata/lmeval/golden, and one whose answers are hashes of what it is asked
// (testdata/lmeval/hashed.py), that knows nothing and so is right and wrong in every way.
func TestGolden(t *testing.T) {
	for model, runs := range goldenRuns(t) {
		for _, run := range runs {
			t.Run(model+"/"+run.Name, func(t *testing.T) { run.check(t) })
		}
	}
}

func (run *goldenRun) check(t *testing.T) {
	tasks, groups, err := Find(run.Tasks)
	if err != nil {
		t.Fatal(err)
	}
	if len(tasks) != len(run.Docs) || len(tasks)+len(groups) != len(run.Results) {
		t.Errorf("%d tasks and %d groups, want %d and %d", len(tasks), len(groups), len(run.Docs), len(run.Results)-len(run.Docs))
	}
	results := map[string]Result{}
	for _, task := range tasks {
		set, err := task.Load(t.Context(), Source{Dir: filepath.Join(goldens, "data"), Shots: run.Shots})
		if err != nil {
			t.Fatal(err)
		}
		docs, err := set.Select(run.Limit, run.Samples[task.Name])
		if err != nil {
			t.Fatal(err)
		}
		requests, err := set.Requests(docs, run.Shots, run.Seed)
		if err != nil {
			t.Fatal(err)
		}
		want := run.Docs[task.Name]
		if count := run.Counts[task.Name]; len(docs) != len(want) || len(docs) != count.Effective || set.Len() != count.Original {
			t.Errorf("%s: %d of %d documents, want %d of %d", task.Name, len(docs), set.Len(), len(want), count.Original)
			continue
		}
		if v, ok := run.Versions[task.Name].(float64); !ok || v != task.Version {
			t.Errorf("%s: version %v, want %v", task.Name, task.Version, run.Versions[task.Name])
		}
		for _, m := range task.Metrics {
			if higher, ok := run.Higher[task.Name][m.Name].(bool); !ok || higher != m.HigherIsBetter {
				t.Errorf("%s: of %s higher is better: %v, want %v", task.Name, m.Name, m.HigherIsBetter, run.Higher[task.Name][m.Name])
			}
		}
		var samples []Sample
		for i, doc := range docs {
			w := &want[i]
			if doc != w.ID || len(requests[i]) != len(w.Requests) {
				t.Errorf("%s: document %d with %d requests, want %d with %d", task.Name, doc, len(requests[i]), w.ID, len(w.Requests))
				continue
			}
			var answers []Answer
			for j, r := range requests[i] {
				if digest := r.digest(task.Output); digest != w.Requests[j] {
					var text []string
					if j < len(w.Arguments) {
						text = w.Arguments[j]
					}
					t.Errorf("%s: document %d, request %d is %q, digest %s, want %s, %q", task.Name, doc, j, r, digest, w.Requests[j], text)
				}
				a := Answer{LogLikelihood: w.Scores[j][0].(float64)}
				if len(w.Scores[j]) > 1 {
					a.Greedy = w.Scores[j][1].(bool)
				}
				answers = append(answers, a)
			}
			sample, err := set.Sample(doc, answers)
			if err != nil {
				t.Fatal(err)
			}
			same(t, task.Name, "target", sample.Target, w.Target)
			if w.Hash != "" {
				same(t, task.Name, "doc_hash", sample.DocHash, w.Hash)
			}
			if len(sample.Metrics) != len(w.Metrics) {
				t.Errorf("%s: document %d: metrics %v, want %v", task.Name, doc, sample.Metrics, w.Metrics)
			}
			for name, value := range w.Metrics {
				same(t, task.Name, name, sample.Metrics[name], value)
			}
			samples = append(samples, sample)
		}
		results[task.Name] = Result{Metrics: task.Aggregate(samples, 100_000), Documents: len(samples)}
	}
	for _, g := range groups {
		results[g.Name] = g.Aggregate(results)
		if v := run.Versions[g.Name]; v != g.Version {
			t.Errorf("%s: version %v, want %v", g.Name, g.Version, v)
		}
	}
	for name, want := range run.Results {
		got, found := results[name].Metrics, 0
		for key, value := range want {
			if !strings.HasSuffix(key, filter) {
				continue
			}
			found++
			number, ok := value.(float64)
			if value == "N/A" {
				number, ok = math.NaN(), true
			}
			if g, there := got[key]; !ok || !there {
				t.Errorf("%s: %s is %v, want %v", name, key, g, value)
			}
			near(t, name+": "+key, got[key], number)
		}
		if found == 0 {
			t.Errorf("%s: no metric in %v", name, want)
		}
	}
}

// digest is how goldens name a request.
func (r Request) digest(output Output) string {
	text := r.Context + "\x00" + r.Continuation
	if output == Rolling {
		text = r.Continuation
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// same compares values by their JSON.
func same(t *testing.T, task, what string, got, want any) {
	t.Helper()
	a, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("%s: %s is %s, want %s", task, what, a, b)
	}
}
