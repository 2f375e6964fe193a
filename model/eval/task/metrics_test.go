package task

import (
	"encoding/json"
	"math"
	"testing"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.IsNaN(got) != math.IsNaN(want) || math.Abs(got-want) > 1e-12*math.Max(1, math.Abs(want)) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// TestPerplexity: the values that lm_eval.api.metrics gives for these log-likelihoods, and its bootstrap by 3500, 100 and 100000 resamples.
func TestPerplexity(t *testing.T) {
	var samples []Sample
	for _, v := range []float64{-1.5, -0.25, -3.0, -2.125, -0.5, -4.75, -1.0} {
		samples = append(samples, Sample{Metrics: map[string]any{"perplexity": v, "acc": 0}})
	}
	lambada := tasks["lambada_openai"]
	for iterations, want := range map[int]float64{0: math.NaN(), 100: 3.7453436616337954, 3500: 4.828247431346682, 100_000: 4.950361336479342} {
		got := lambada.Aggregate(samples, iterations)
		near(t, "perplexity", got["perplexity,none"], 6.5208191203301125)
		near(t, "stderr", got["perplexity_stderr,none"], want)
	}
	if got := lambada.Aggregate(samples[:1], 100)["perplexity_stderr,none"]; !math.IsNaN(got) {
		t.Errorf("the standard error of one is %v", got)
	}
	if got := lambada.Aggregate(nil, 100); len(got) != 0 {
		t.Errorf("metrics of nothing: %v", got)
	}
}

// TestMeans: mean_stderr, weighted_perplexity and bits_per_byte as lm-eval has them.
func TestMeans(t *testing.T) {
	var samples []Sample
	for _, v := range []float64{1, 0, 1, 1} {
		samples = append(samples, Sample{Metrics: map[string]any{"acc": v}})
	}
	got := tasks["boolq"].Aggregate(samples, 1)
	near(t, "acc", got["acc,none"], 0.75)
	near(t, "stderr", got["acc_stderr,none"], 0.25)
	near(t, "stderr without bootstrap", tasks["boolq"].Aggregate(samples, 0)["acc_stderr,none"], math.NaN())
	near(t, "stderr of one", tasks["boolq"].Aggregate(samples[:1], 1)["acc_stderr,none"], math.NaN())

	samples = nil
	for _, v := range []Weighted{{-10.5, 7}, {-3.25, 4}} {
		samples = append(samples, Sample{Metrics: map[string]any{"word_perplexity": v, "byte_perplexity": v, "bits_per_byte": v}})
	}
	got = tasks["wikitext"].Aggregate(samples, 100)
	near(t, "word_perplexity", got["word_perplexity,none"], 3.4903429574618414)
	near(t, "bits_per_byte", got["bits_per_byte,none"], 1.8033688011112043)
	near(t, "its stderr", got["bits_per_byte_stderr,none"], math.NaN())
	if raw, err := json.Marshal(Weighted{-10.5, 7}); err != nil || string(raw) != "[-10.5,7]" {
		t.Errorf("%s %v", raw, err)
	}
}

func TestArgmax(t *testing.T) {
	inf := math.Inf(-1)
	for _, c := range []struct {
		of   []float64
		want int
	}{{[]float64{-1}, 0}, {[]float64{-2, -1, -1}, 1}, {[]float64{inf, inf}, 0}, {[]float64{-1, math.NaN(), 5, math.NaN()}, 1}} {
		if got := argmax(c.of); got != c.want {
			t.Errorf("the largest of %v is %d, want %d", c.of, got, c.want)
		}
	}
}

// TestNormalised: the same answers are right or wrong by what they are divided by: nothing, characters, bytes.
func TestNormalised(t *testing.T) {
	s := &Set{Task: tasks["piqa"], docs: []document{{item: choose("q", []string{"éééé", "abcde"}, 0)}}}
	for _, c := range []struct {
		a, b             float64
		acc, norm, bytes float64
	}{{-4, -4.5, 1, 0, 1}, {-3, -4.5, 1, 1, 1}, {-6, -4, 0, 0, 1}, {-8, -4, 0, 0, 0}} {
		got, err := s.Sample(0, []Answer{{LogLikelihood: c.a}, {LogLikelihood: c.b}})
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]float64{"acc": c.acc, "acc_norm": c.norm, "acc_bytes": c.bytes} {
			if got.Metrics[name] != want {
				t.Errorf("%v, %v: %s is %v, want %v", c.a, c.b, name, got.Metrics[name], want)
			}
		}
	}
	if _, err := s.Sample(0, []Answer{{}}); err == nil {
		t.Error("one answer to two requests is taken")
	}
	if _, err := s.Sample(1, nil); err == nil {
		t.Error("a document that is not there is taken")
	}
}

// TestGroup: pooled_sample_stderr, unweighted_mean_stderr and aggregate_subtask_metrics as lm-eval has them, with sizes 10, 30 and 7.
func TestGroup(t *testing.T) {
	g := groups["mmlu_stem"]
	results := map[string]Result{}
	for i, r := range []Result{
		{Metrics: map[string]float64{"acc,none": .5, "acc_stderr,none": .1}, Documents: 10}, {Metrics: map[string]float64{"acc,none": .25, "acc_stderr,none": .2}, Documents: 30},
		{Metrics: map[string]float64{"acc,none": .75, "acc_stderr,none": .05}, Documents: 7},
	} {
		results[g.Tasks[i].Name] = r
	}
	got := g.Aggregate(results)
	near(t, "acc", got.Metrics["acc,none"], 0.3776595744680851)
	near(t, "acc_stderr", got.Metrics["acc_stderr,none"], 0.13158202683966394)
	near(t, "acc_macro", got.Metrics["acc_macro,none"], 0.5)
	near(t, "acc_macro_stderr", got.Metrics["acc_macro_stderr,none"], 0.07637626158259735)
	if got.Documents != 47 {
		t.Errorf("%d documents", got.Documents)
	}
	delete(results[g.Tasks[1].Name].Metrics, "acc_stderr,none")
	near(t, "acc_stderr where a task has none", g.Aggregate(results).Metrics["acc_stderr,none"], math.NaN())
	if got := g.Aggregate(nil); len(got.Metrics) != 0 {
		t.Errorf("metrics of nothing: %v", got.Metrics)
	}
}

// TestCome7: acc_norm counts where a task has it, else acc.
func TestCome7(t *testing.T) {
	results := map[string]Result{}
	for i, task := range groups["come7"].Tasks {
		results[task.Name] = Result{Metrics: map[string]float64{"acc,none": .1 * float64(i), "acc_stderr,none": .07}, Documents: 10 + i}
		if len(task.Metrics) == 3 {
			results[task.Name].Metrics["acc_norm,none"], results[task.Name].Metrics["acc_norm_stderr,none"] = 1, 0
		}
	}
	got := groups["come7"].Aggregate(results)
	near(t, "avg", got.Metrics["avg,none"], (5+.4+.5)/7)
	near(t, "avg_stderr", got.Metrics["avg_stderr,none"], math.Sqrt(2*.07*.07)/7)
}
