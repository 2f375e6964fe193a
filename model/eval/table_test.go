package eval_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/eval"
)

// TestTable compares with the tables that lm-eval's make_table makes of the same file, but for the line below the head, where a "N/A" makes
// its column one of text.
func TestTable(t *testing.T) {
	r, err := eval.ReadResults("testdata/table.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/table.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := func(text string) []string {
		return slices.DeleteFunc(strings.Split(strings.TrimSpace(text), "\n"), func(line string) bool { return strings.HasPrefix(line, "|--") })
	}
	if got, want := lines(r.Table()+"\n"+r.GroupTable()), lines(string(want)); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// resultsFile writes a results file as lm-eval's are, of one task with these accuracies, and its samples.
func resultsFile(t *testing.T, name string, n int, acc []float64, samples bool) string {
	t.Helper()
	dir := t.TempDir()
	sum := 0.0
	for _, a := range acc {
		sum += a
	}
	mean := sum / float64(len(acc))
	stderr := math.Sqrt(mean * (1 - mean) / float64(len(acc)-1))
	file := filepath.Join(dir, "results_2026-01-02T03-04-05.678901.json")
	raw, err := json.Marshal(map[string]any{
		"results":     map[string]any{"arc_easy": map[string]any{"alias": "arc_easy", "acc,none": mean, "acc_stderr,none": stderr}},
		"versions":    map[string]any{"arc_easy": 1.0},
		"n-shot":      map[string]any{"arc_easy": n},
		"n-samples":   map[string]any{"arc_easy": map[string]int{"original": 100, "effective": len(acc)}},
		"model_name":  name,
		"task_hashes": map[string]any{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if !samples {
		return file
	}
	var text []byte
	for i, a := range acc {
		raw, err := json.Marshal(map[string]any{"doc_id": i, "metrics": []string{"acc"}, "acc": a, "doc_hash": "d", "prompt_hash": "p", "target_hash": "t"})
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, raw...), '\n')
	}
	if err := os.WriteFile(filepath.Join(dir, "samples_arc_easy_2026-01-02T03-04-05.678901.jsonl"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCompare(t *testing.T) {
	// B has right 2 that A has wrong, and wrong 7 that A has right, of 20.
	a := []float64{1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 1}
	b := []float64{0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 1}
	one := func(c *eval.Comparison, err error) eval.Difference {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Rows) != 1 {
			t.Fatalf("%d rows", len(c.Rows))
		}
		return c.Rows[0]
	}
	near := func(what string, got *float64, want float64) {
		t.Helper()
		if got == nil || math.Abs(*got-want) > 1e-9 {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	// Differences are 2 times 1, 7 times -1 and 11 times 0: variance (9 - 25/20)/19. McNemar: 2·(1 + 9 + 36)/2⁹.
	d := one(eval.Compare(resultsFile(t, "a", 0, a, true), resultsFile(t, "b", 0, b, true)))
	se := math.Sqrt((9 - 25.0/20) / 19 / 20)
	if !d.Paired || math.Abs(float64(d.Difference)+0.25) > 1e-12 {
		t.Errorf("%+v", d)
	}
	near("stderr", d.Stderr, se)
	near("z", d.Z, -0.25/se)
	near("p", d.P, math.Erfc(0.25/se/math.Sqrt2))
	near("McNemar", d.McNemar, 2*46.0/512)

	d = one(eval.Compare(resultsFile(t, "a", 0, a, true), resultsFile(t, "b", 0, b, false)))
	se = math.Sqrt(0.7*0.3/19 + 0.45*0.55/19)
	if d.Paired || d.McNemar != nil {
		t.Errorf("%+v", d)
	}
	near("unpaired stderr", d.Stderr, se)
	near("unpaired z", d.Z, -0.25/se)

	for _, c := range []struct {
		file, want string
	}{
		{resultsFile(t, "b", 5, b, true), "eval: arc_easy: the results have n-shot 0 and 5"},
		{resultsFile(t, "b", 0, b[:19], true), "eval: arc_easy: the results have n-samples 20 and 19"},
		{"testdata/table.json", "eval: the results are of other tasks: arc_easy; and arc_easy, lambada_openai, mmlu, mmlu_anatomy, mmlu_stem, wikitext"},
		{"testdata/table.md", "eval: testdata/table.md: no results of tasks"},
	} {
		if _, err := eval.Compare(resultsFile(t, "a", 0, a, true), c.file); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("error %v, want %s", err, c.want)
		}
	}
}
