package eval_test

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/eval/task"
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
	d := one(eval.Compare(t.Context(), resultsFile(t, "a", 0, a, true), resultsFile(t, "b", 0, b, true)))
	se := math.Sqrt((9 - 25.0/20) / 19 / 20)
	if !d.Paired || math.Abs(float64(d.Difference)+0.25) > 1e-12 {
		t.Errorf("%+v", d)
	}
	near("stderr", d.Stderr, se)
	near("z", d.Z, -0.25/se)
	near("p", d.P, math.Erfc(0.25/se/math.Sqrt2))
	near("McNemar", d.McNemar, 2*46.0/512)

	d = one(eval.Compare(t.Context(), resultsFile(t, "a", 0, a, true), resultsFile(t, "b", 0, b, false)))
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
		{tasksFile(t, "b", map[string]float64{"piqa": 0.5}), "eval: the results have no task in common: arc_easy; and piqa"},
		{"testdata/table.md", "eval: testdata/table.md: no results of tasks"},
	} {
		if _, err := eval.Compare(t.Context(), resultsFile(t, "a", 0, a, true), c.file); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("error %v, want %s", err, c.want)
		}
	}
}

// tasksFile writes a results file of these accuracies of 10 documents, without groups.
func tasksFile(t *testing.T, name string, acc map[string]float64) string {
	t.Helper()
	results, versions, shots, samples := map[string]any{}, map[string]any{}, map[string]int{}, map[string]any{}
	for task, v := range acc {
		results[task] = map[string]any{"alias": task, "acc,none": v, "acc_stderr,none": 0.1}
		versions[task], shots[task], samples[task] = 1.0, 0, map[string]int{"original": 20, "effective": 10}
	}
	raw, err := json.Marshal(map[string]any{"results": results, "versions": versions, "n-shot": shots, "n-samples": samples, "model_name": name})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func readTasks(t *testing.T, file string) *eval.Results {
	t.Helper()
	r, err := eval.ReadResults(file)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sevenTasks are accuracies of come7's tasks, whose mean is 0.4.
var sevenTasks = map[string]float64{"arc_challenge": 0.1, "arc_easy": 0.2, "boolq": 0.3, "hellaswag": 0.4, "openbookqa": 0.5, "piqa": 0.6, "winogrande": 0.7}

// TestSideAverage has the average of come7's tasks where they are there, whether a file names the group or not.
func TestSideAverage(t *testing.T) {
	check := func(all []*eval.Results, average float64, over int, left []string, text string) {
		t.Helper()
		s, err := eval.NewSide(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Means) != len(all) || math.Abs(float64(s.Means[0])-average) > 1e-12 || len(s.Over) != over || !slices.Equal(s.Left, left) {
			t.Errorf("average %v of %v, left out %v; want %v of %d, %v", s.Means, s.Over, s.Left, average, over, left)
		}
		if !strings.Contains(s.Table(), text) {
			t.Errorf("no %q in:\n%s", text, s.Table())
		}
	}
	more := maps.Clone(sevenTasks)
	more["lambada_openai"] = 1
	seven, eight := readTasks(t, tasksFile(t, "a", sevenTasks)), readTasks(t, tasksFile(t, "b", more))
	check([]*eval.Results{seven, seven}, 0.4, 7, nil, "The average is of come7's tasks.")
	check([]*eval.Results{eight, eight}, 0.4, 7, nil, "The average is of come7's tasks.")
	check([]*eval.Results{eight, seven}, 0.4, 7, []string{"lambada_openai"}, "average of 7")
	grouped := *eight
	grouped.Results = maps.Clone(eight.Results)
	grouped.Results["come7"] = eval.Metrics{Values: map[string]float64{"avg,none": 0.4}}
	grouped.GroupSubtasks = map[string][]string{"come7": {"arc_easy"}}
	check([]*eval.Results{&grouped, seven}, 0.4, 7, []string{"lambada_openai"}, "The average is of come7's tasks.")
	few := readTasks(t, tasksFile(t, "c", map[string]float64{"arc_easy": 0.2, "lambada_openai": 1}))
	check([]*eval.Results{few, few}, 0.6, 2, nil, "The average is of arc_easy, lambada_openai.")
	check([]*eval.Results{few, seven}, 0.2, 1, []string{"arc_challenge", "boolq", "hellaswag", "lambada_openai", "openbookqa", "piqa", "winogrande"}, "The average is of arc_easy.")
}

// TestCompareGroups has a group that only one file names computed from its tasks where both have them, else left out.
func TestCompareGroups(t *testing.T) {
	groups := readTasks(t, tasksFile(t, "a", sevenTasks))
	groups.GroupSubtasks = map[string][]string{"come7": slices.Sorted(maps.Keys(sevenTasks))}
	groups.Results["come7"] = eval.Metrics{Values: map[string]float64{"avg,none": 0.4}}
	file := filepath.Join(t.TempDir(), "grouped.json")
	raw, err := json.Marshal(groups)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	better := map[string]float64{}
	for name, v := range sevenTasks {
		better[name] = v + 0.1
	}
	c, err := eval.Compare(t.Context(), file, tasksFile(t, "b", better))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Rows) != 8 || c.Rows[0].Task != "come7" || math.Abs(float64(c.Rows[0].Difference)-0.1) > 1e-12 || len(c.Left) != 0 {
		t.Errorf("%+v", c)
	}
	delete(better, "piqa")
	if c, err = eval.Compare(t.Context(), file, tasksFile(t, "b", better)); err != nil {
		t.Fatal(err)
	}
	if len(c.Rows) != 6 || !slices.Equal(c.Left, []string{"come7", "piqa"}) {
		t.Errorf("%+v", c)
	}
}

func TestCompareBaseline(t *testing.T) {
	r := readTasks(t, tasksFile(t, "a", map[string]float64{"arc_easy": 0.2, "piqa": 0.6}))
	for _, c := range []struct {
		tasks []string
		o     eval.TaskOptions
		want  string
	}{
		{[]string{"arc_easy"}, eval.TaskOptions{Limit: 10}, ""},
		{[]string{"arc_easy", "boolq"}, eval.TaskOptions{Limit: 0.5}, ""},
		{[]string{"piqa"}, eval.TaskOptions{Samples: map[string][]int{"piqa": {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9}}}, ""},
		{[]string{"piqa"}, eval.TaskOptions{}, "eval: piqa: the results have n-samples 10 and 20"},
		{[]string{"piqa"}, eval.TaskOptions{Limit: 10, Shots: 5}, "eval: piqa: the results have n-shot 0 and 5"},
		{[]string{"boolq"}, eval.TaskOptions{Limit: 10}, "eval: the results have no task in common"},
	} {
		tasks, _, err := task.Find(c.tasks)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.CheckBaseline(tasks, c.o); (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", c.tasks, err, c.want)
		}
	}
}
