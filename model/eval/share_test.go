package eval_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/eval/task"
)

// answered is a task with the number of choices of each document, and whether a model is right.
type answered struct {
	choices []int
	right   []float64
}

func (a answered) acc() float64 {
	sum := 0.0
	for _, v := range a.right {
		sum += v
	}
	return sum / float64(len(a.right))
}

func (a answered) chance() float64 {
	sum := 0.0
	for _, n := range a.choices {
		sum += 1 / float64(n)
	}
	return sum / float64(len(a.choices))
}

// answersFile writes results of tasks as vkcome's are, with their samples or without.
func answersFile(t *testing.T, name string, tasks map[string]answered, samples bool) string {
	t.Helper()
	const date = "2026-01-02T03-04-05.678901"
	dir := t.TempDir()
	results, versions, shots, documents, chance := map[string]any{}, map[string]any{}, map[string]int{}, map[string]any{}, map[string]float64{}
	for task, a := range tasks {
		acc, n := a.acc(), len(a.right)
		results[task] = map[string]any{"alias": task, "acc,none": acc, "acc_stderr,none": math.Sqrt(acc * (1 - acc) / float64(n-1))}
		versions[task], shots[task], documents[task] = 1.0, 0, map[string]int{"original": 20000, "effective": n}
		if a.choices[0] > 1 {
			chance[task] = a.chance()
		}
		if !samples {
			continue
		}
		var text strings.Builder
		for i, v := range a.right {
			answers := strings.Repeat(`,["-1.5","False"]`, a.choices[i])[1:]
			fmt.Fprintf(&text, `{"doc_id":%d,"metrics":["acc"],"acc":%v,"doc_hash":"d","prompt_hash":"p","target_hash":"t","filtered_resps":[%s]}`+"\n", i, v, answers)
		}
		if err := os.WriteFile(filepath.Join(dir, "samples_"+task+"_"+date+".jsonl"), []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := json.Marshal(map[string]any{
		"results": results, "versions": versions, "n-shot": shots, "n-samples": documents, "model_name": name, "vkcome": map[string]any{"date_id": date, "chance": chance},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "results_"+date+".json")
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// sides are the results of tasks of two models side by side.
func sides(t *testing.T, first, other map[string]answered, samples bool) *eval.Side {
	t.Helper()
	s, err := eval.NewSide(t.Context(), []*eval.Results{readTasks(t, answersFile(t, "first", first, samples)), readTasks(t, answersFile(t, "other", other, samples))})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func nearly(t *testing.T, what string, got *float64, want, tolerance float64) {
	t.Helper()
	if got == nil || !(math.Abs(*got-want) <= tolerance) {
		if got == nil {
			t.Errorf("%s: got none, want %v", what, want)
			return
		}
		t.Errorf("%s: got %v, want %v", what, *got, want)
	}
}

const exact = 1e-12 // sums of a few numbers of about 1 in float64

// TestShare has shares worked out by hand.
func TestShare(t *testing.T) {
	// Of 8 documents with 4 choices the first has 6 right and the other 5, and 4 are right in both: (5/8 − 1/4)/(6/8 − 1/4) = 3/4.
	first := map[string]answered{"arc_easy": {[]int{4, 4, 4, 4, 4, 4, 4, 4}, []float64{1, 1, 1, 1, 1, 1, 0, 0}}}
	other := map[string]answered{"arc_easy": {first["arc_easy"].choices, []float64{1, 1, 1, 1, 0, 0, 1, 0}}}
	s := sides(t, first, other, true)
	got := s.Rows[0].Above[1]
	// z is y − 3/4·x less its mean: 1/4 four times, −3/4 twice, 1 and 0; the sum of squares is 4/16 + 2·9/16 + 1, the sum 1/2.
	variance := (2.375 - 0.25/8) / 7
	nearly(t, "chance", s.Rows[0].Chance, 0.25, exact)
	nearly(t, "share", &got.Share, 0.75, exact)
	nearly(t, "stderr", got.Stderr, math.Sqrt(variance/8)/0.5, exact)
	nearly(t, "z of the first", got.FirstZ, 0.5/math.Sqrt(0.75*0.25/7), exact)
	if !got.Paired || !got.Sure() {
		t.Errorf("%+v", got)
	}
	itself := s.Rows[0].Above[0]
	nearly(t, "share of itself", &itself.Share, 1, 0)
	nearly(t, "its stderr", itself.Stderr, 0, 0)
	nearly(t, "average", &s.Above[1].Share, 0.75, exact)
	if want := "|75.0 ± 40.9 %|"; !strings.Contains(s.Table(), want) {
		t.Errorf("no %q in\n%s", want, s.Table())
	}

	// Without samples beside the files the variances of both are known, not their covariance.
	got = sides(t, first, other, false).Rows[0].Above[1]
	nearly(t, "unpaired share", &got.Share, 0.75, exact)
	nearly(t, "unpaired stderr", got.Stderr, math.Sqrt(0.625*0.375/7+0.75*0.75*0.75*0.25/7)/0.5, exact)
	if got.Paired {
		t.Error("paired, without samples")
	}

	// Documents of 3, 4 and 5 choices, of which all give the share its variance: z = y − 1/k − share·(x − 1/k).
	first = map[string]answered{"arc_challenge": {[]int{3, 4, 5, 4}, []float64{1, 1, 0, 1}}}
	other = map[string]answered{"arc_challenge": {[]int{3, 4, 5, 4}, []float64{1, 0, 0, 1}}}
	s = sides(t, first, other, true)
	chance := (1.0/3 + 1.0/4 + 1.0/5 + 1.0/4) / 4
	share := (0.5 - chance) / (0.75 - chance)
	z := []float64{(1 - share) * 2 / 3, -1.0/4 - share*3/4, -(1 - share) / 5, (1 - share) * 3 / 4}
	squares := 0.0
	for _, v := range z { // their mean is 0
		squares += v * v
	}
	got = s.Rows[0].Above[1]
	nearly(t, "chance of 3 to 5", s.Rows[0].Chance, chance, exact)
	nearly(t, "share of 3 to 5", &got.Share, share, exact)
	nearly(t, "stderr of 3 to 5", got.Stderr, math.Sqrt(squares/3/4)/(0.75-chance), exact)
}

// TestShareNone gives no share where the first model does not know more than guessing does, and marks one where it hardly does.
func TestShareNone(t *testing.T) {
	four := []int{4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4}
	right := func(n int) map[string]answered {
		a := answered{four, make([]float64, len(four))}
		for i := range n {
			a.right[i] = 1
		}
		return map[string]answered{"arc_easy": a}
	}
	for _, samples := range []bool{true, false} {
		for n, want := range map[int]string{2: "-", 3: "-", 4: " ?|", 11: " %|"} {
			s := sides(t, right(n), right(3), samples)
			if got := s.Rows[0].Above[1]; (got == nil) != (n <= 3) || (got != nil) && math.Abs(got.Share) > exact {
				t.Errorf("%d of 12 right: %+v", n, got)
			}
			if text := s.Table(); !strings.Contains(text, want) || strings.Contains(text, "\n?: ") != (n == 4) {
				t.Errorf("%d of 12 right: no %q, or a line too many or too few in\n%s", n, want, text)
			}
			raw, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(string(raw), `"above_chance":[null,null]`); got != (n <= 3) {
				t.Errorf("%d of 12 right: %s", n, raw)
			}
		}
	}
	// Thirds do not add up to 1/3 exactly: a model at chance is at chance.
	three := answered{[]int{3, 3, 3}, []float64{1, 0, 0}}
	if got := sides(t, map[string]answered{"arc_easy": three}, map[string]answered{"arc_easy": three}, true).Rows[0].Above[1]; got != nil {
		t.Errorf("a model at chance: %+v", got)
	}
	// What is no choice has no chance, and does not count in the average's share; nor does a task that is not known here.
	all := map[string]answered{"arc_easy": right(11)["arc_easy"], "lambada_openai": {[]int{1, 1}, []float64{1, 0}}, "their_own": {four, right(5)["arc_easy"].right}}
	fewer := map[string]answered{"arc_easy": right(7)["arc_easy"], "lambada_openai": {[]int{1, 1}, []float64{0, 0}}, "their_own": {four, right(4)["arc_easy"].right}}
	s := sides(t, all, fewer, true)
	for _, row := range s.Rows {
		if known := row.Task == "arc_easy"; (row.Chance != nil) != known || (row.Above[1] != nil) != known {
			t.Errorf("%+v", row)
		}
	}
	nearly(t, "average without lambada", &s.Above[1].Share, 0.5, exact)
	if text := s.Table(); len(s.Over) != 3 || !strings.Contains(text, "What it has above chance is of arc_easy.\n") {
		t.Errorf("average of %v:\n%s", s.Over, text)
	}
}

// drawn draws documents of two models whose answers go together.
func drawn(random *rand.Rand, n int, choices []int, first, other float64) (a, b answered) {
	for range n {
		k, p := choices[random.IntN(len(choices))], random.Float64()
		q := p
		if random.Float64() < 0.5 {
			q = random.Float64()
		}
		x, y := 0.0, 0.0
		if p < first {
			x = 1
		}
		if q < other {
			y = 1
		}
		a.choices, a.right, b.right = append(a.choices, k), append(a.right, x), append(b.right, y)
	}
	b.choices = a.choices
	return a, b
}

// TestShareBootstrap compares standard errors with the deviation of the share over resamples of the documents, of each task by itself.
func TestShareBootstrap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 14))
	first, other := map[string]answered{}, map[string]answered{}
	names := []string{"arc_challenge", "boolq", "hellaswag"}
	for i, name := range names {
		first[name], other[name] = drawn(random, []int{500, 400, 900}[i], [][]int{{3, 4, 5}, {2}, {4}}[i], []float64{0.6, 0.75, 0.65}[i], []float64{0.45, 0.68, 0.4}[i])
	}
	s := sides(t, first, other, true)
	const resamples = 4000
	shares := map[string][]float64{}
	for range resamples {
		var sumFirst, sumOther float64
		for _, name := range names {
			a, b := first[name], other[name]
			var u, v float64
			for range a.right {
				i := random.IntN(len(a.right))
				guess := 1 / float64(a.choices[i])
				u, v = u+a.right[i]-guess, v+b.right[i]-guess
			}
			shares[name] = append(shares[name], v/u)
			sumFirst, sumOther = sumFirst+u/float64(len(a.right)), sumOther+v/float64(len(a.right))
		}
		shares["average"] = append(shares["average"], sumOther/sumFirst)
	}
	deviation := func(v []float64) float64 {
		sum, squares := 0.0, 0.0
		for _, x := range v {
			sum, squares = sum+x, squares+x*x
		}
		n := float64(len(v))
		return math.Sqrt((squares - sum*sum/n) / (n - 1))
	}
	check := func(name string, got *eval.Share) {
		t.Helper()
		// A deviation of 4000 draws has a relative standard error of 1.1 %; what the delta method leaves out is of the order of
		// (stderr of the first's mean / that mean)², below 1 % here.
		want := deviation(shares[name])
		if t.Logf("%s: %v, bootstrap ± %.4f", name, got, want); got == nil || got.Stderr == nil || !(math.Abs(*got.Stderr/want-1) < 0.05) || !got.Paired {
			t.Errorf("%s: %+v, the bootstrap has ± %v", name, got, want)
		}
	}
	for _, row := range s.Rows {
		check(row.Task, row.Above[1])
	}
	check("average", s.Above[1])
	if len(s.Rows) != len(names) || len(s.Choices) != len(names) {
		t.Errorf("%+v", s)
	}
}

// TestShareCompare has the same shares in a comparison of two files, and of their average.
func TestShareCompare(t *testing.T) {
	random := rand.New(rand.NewPCG(15, 9))
	first, other := map[string]answered{}, map[string]answered{}
	for name := range sevenTasks {
		first[name], other[name] = drawn(random, 60+random.IntN(60), []int{2, 3, 4}, 0.8, 0.6)
	}
	for _, samples := range []bool{true, false} {
		s := sides(t, first, other, samples)
		c, err := eval.Compare(t.Context(), answersFile(t, "first", first, samples), answersFile(t, "other", other, samples))
		if err != nil {
			t.Fatal(err)
		}
		byTask := map[string]*eval.Share{}
		for _, row := range s.Rows {
			byTask[row.Task] = row.Above[1]
		}
		if len(c.Rows) != len(byTask) {
			t.Fatalf("%d rows, want %d", len(c.Rows), len(byTask))
		}
		for _, d := range c.Rows {
			want := byTask[d.Task]
			if want == nil || d.Above == nil || d.Chance == nil || d.Above.Paired != samples {
				t.Fatalf("%s: %v, want %v", d.Task, d.Above, want)
			}
			nearly(t, d.Task, &d.Above.Share, want.Share, exact)
			nearly(t, d.Task+" stderr", d.Above.Stderr, *want.Stderr, exact)
			nearly(t, d.Task+" by its definition", &d.Above.Share, (float64(d.B)-*d.Chance)/(float64(d.A)-*d.Chance), exact)
			if !strings.Contains(c.Table(), d.Above.String()) {
				t.Errorf("no %s in\n%s", d.Above, c.Table())
			}
		}
		nearly(t, "average", &c.Above[1].Share, s.Above[1].Share, exact)
		nearly(t, "average's stderr", c.Above[1].Stderr, *s.Above[1].Stderr, exact)
		if want := ", of what is above chance (" + fmt.Sprintf("%.4f", *s.Chance) + ") " + s.Above[1].String() + "."; !strings.Contains(c.Table(), want) {
			t.Errorf("no %q in\n%s", want, c.Table())
		}
	}
	mmluShares(t, random)

	// Samples of other documents are refused.
	fewer := map[string]answered{"arc_easy": first["arc_easy"]}
	file := answersFile(t, "other", fewer, true)
	text, err := filepath.Glob(filepath.Join(filepath.Dir(file), "samples_*"))
	if err != nil || len(text) != 1 {
		t.Fatal(text, err)
	}
	raw, err := os.ReadFile(text[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(text[0], []byte(strings.Replace(string(raw), `"doc_hash":"d"`, `"doc_hash":"e"`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = eval.NewSide(t.Context(), []*eval.Results{readTasks(t, answersFile(t, "first", fewer, true)), readTasks(t, file)})
	if want := "eval: arc_easy: the samples are of other documents or prompts: document 0 and 0"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// mmluShares has the shares of a group's accuracy over all documents, and of the mean of its tasks' accuracies.
func mmluShares(t *testing.T, random *rand.Rand) {
	_, groups, err := task.Find([]string{"mmlu_stem"})
	if err != nil {
		t.Fatal(err)
	}
	first, other := map[string]answered{}, map[string]answered{}
	for i, k := range groups[0].Tasks {
		first[k.Name], other[k.Name] = drawn(random, 5+20*(i%3), []int{4}, 0.8, 0.6)
	}
	a := readTasks(t, answersFile(t, "first", first, true))
	a.GroupSubtasks, a.Results["mmlu_stem"] = map[string][]string{"mmlu_stem": groups[0].Members}, eval.Metrics{}
	s, err := eval.NewSide(t.Context(), []*eval.Results{a, readTasks(t, answersFile(t, "other", other, true))})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Rows) != 1 || s.Rows[0].Above[1] == nil {
		t.Fatalf("%+v", s)
	}
	var right [2]float64
	n := 0.0
	for name := range first {
		for i := range first[name].right {
			right[0], right[1], n = right[0]+first[name].right[i], right[1]+other[name].right[i], n+1
		}
	}
	nearly(t, "mmlu_stem", &s.Rows[0].Above[1].Share, (right[1]/n-0.25)/(right[0]/n-0.25), exact)
	// With weights nᵢ/n a task's variance counts sdᵢ²·nᵢ/n².
	share, variance := s.Rows[0].Above[1].Share, 0.0
	for name := range first {
		var sum, squares float64
		m := float64(len(first[name].right))
		for i, x := range first[name].right {
			z := other[name].right[i] - 0.25 - share*(x-0.25)
			sum, squares = sum+z, squares+z*z
		}
		variance += (squares - sum*sum/m) / (m - 1) * m / n / n
	}
	nearly(t, "its stderr", s.Rows[0].Above[1].Stderr, math.Sqrt(variance)/(right[0]/n-0.25), exact)
}
