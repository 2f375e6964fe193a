package distill

import (
	"cmp"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

func TestParseMap(t *testing.T) {
	got, err := ParseMap("7=9-11, 3=4-5,0=0")
	if want := []Group{{0, 0, 0}, {3, 4, 5}, {7, 9, 11}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	if got, err := ParseMap(NoGroups); err != nil || got == nil || len(got) != 0 {
		t.Errorf("%v %v, want no groups", got, err)
	}
	for _, bad := range []string{"", "3", "3=", "=4", "3=4-", "3=-4", "a=1", "1=2=3", "1=2,", "-1=2"} {
		if got, err := ParseMap(bad); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"4=1", "the student has 4 layers, the teacher 6"}, {"1=6", "the teacher 6"}, {"1=3-2", "the teacher 6"}, {"1=1,1=2", "given twice"}, {"0=2-3,1=3", "same layer"},
		{"0=4,1=2", "not in its order"},
	} {
		groups, err := ParseMap(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckGroups(groups, 4, 6); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestGroups(t *testing.T) {
	for text, want := range map[string][]Group{
		`[0, [1, [2, 3]], 4, [5, 6], 7]`: {{1, 1, 3}, {3, 5, 6}},
		`[0, 1, 4, 5, 6, 7]`:             {{1, 1, 3}},            // dropped: 2 and 3
		`[2, 3, [4, 5]]`:                 {{0, 0, 2}, {2, 4, 7}}, // dropped: the first two and the last two
		`[0, 1, 2, 3, 4, 5, 6, 7]`:       nil,
	} {
		var tree []method.Tree
		if err := json.Unmarshal([]byte(text), &tree); err != nil {
			t.Fatal(err)
		}
		if got := Groups(tree, 8); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// The documented defaults, of a small model and of one of billions of parameters.
func TestDefaults(t *testing.T) {
	small := &model.Model{Config: &arch.Config{HiddenSize: 128}}
	large := &model.Model{Config: &arch.Config{HiddenSize: 4096}}
	o, err := Options{}.Defaults(small, 3264, 128)
	if err != nil || math.Abs(o.LR-3.2e-3) > 1e-12 || math.Abs(o.FinalLR-3.2e-4) > 1e-12 || o.Batch != 16 || o.HeldOut != 64 || o.Tokens != 200*2048 || o.Objective != train.MSE || o.Input != TeacherInput {
		t.Errorf("%+v %v", o, err)
	}
	if o, err = (Options{}).Defaults(large, 40, 2048); err != nil || o.LR != 2e-4 || math.Abs(o.FinalLR-2e-5) > 1e-12 || o.Decay != 1e-3 || o.Clip != 1 || o.WarmUp != 0.03 || o.HeldOut != 16 {
		t.Errorf("%+v %v", o, err)
	}
	if o, err = (Options{}).Defaults(large, 5, 2048); err != nil || o.Batch != 2 || o.HeldOut != 2 {
		t.Errorf("five windows: %+v %v", o, err)
	}
	for _, c := range []struct {
		o       Options
		windows int
		want    string
	}{
		{Options{}, 1, "expected two"}, {Options{Objective: "mae"}, 99, "mse, kl, nmse, cos, kl-lens"}, {Options{Input: "both"}, 99, "teacher, student"},
		{Options{LR: -1}, 99, "learning rates"}, {Options{LR: math.NaN()}, 99, "learning rates"}, {Options{FinalLR: 1}, 99, "learning rates"}, {Options{WarmUp: 2}, 99, "warm-up"},
		{Options{Temperature: -1}, 99, "temperature"}, {Options{Batch: 4, MicroBatch: 3}, 99, "divisor"}, {Options{HeldOut: 15}, 99, "multiple"}, {Options{HeldOut: 96}, 99, "too few"},
		{Options{Tokens: 10}, 99, "a step takes"}, {Options{EndToEnd: -1}, 99, "end-to-end"}, {Options{Moments: "q8"}, 99, "f32, bf16"}, {Options{Rank: 129}, 99, "rank 129"},
	} {
		if _, err := c.o.Defaults(small, c.windows, 128); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
}

// The rate rises for 20 steps at least, reaches its peak, falls, and ends at its last value.
func TestRate(t *testing.T) {
	o := Options{WarmUp: 0.03}
	for _, c := range []struct{ steps, warm int }{{200, 20}, {1000, 30}, {10, 5}, {1, 0}} {
		var rates []float64
		for step := range c.steps {
			rates = append(rates, o.rate(1, 0.1, step, c.steps))
		}
		peak := slices.Index(rates, slices.Max(rates))
		if want := max(0, c.warm-1); peak != want || rates[peak] != 1 || rates[len(rates)-1] < 0.1 || rates[len(rates)-1] > 0.1+9/float64(c.steps) {
			t.Errorf("%d steps: peak %v at %d, want 1 at %d; the last is %v", c.steps, rates[peak], peak, want, rates[len(rates)-1])
		}
		if !slices.IsSorted(rates[:peak+1]) || !slices.IsSortedFunc(rates[peak:], func(a, b float64) int { return cmp.Compare(b, a) }) {
			t.Errorf("%d steps: the rates do not rise and then fall", c.steps)
		}
	}
}

// What is held out is never trained on, all else is once in a round, and the seed decides the order.
func TestSplit(t *testing.T) {
	windows := modeltest.Windows(1999, 27, 5)
	o := Options{Batch: 4, HeldOut: 8}
	ordered, train := split(windows, o)
	if train != 16 || len(ordered) != 24 {
		t.Fatalf("%d of %d windows are trained on", train, len(ordered))
	}
	seen := map[string]bool{}
	for _, w := range ordered {
		key, _ := json.Marshal(w)
		if seen[string(key)] {
			t.Error("a window is there twice")
		}
		seen[string(key)] = true
	}
	again, _ := split(windows, o)
	o.Seed = 1
	other, _ := split(windows, o)
	if !reflect.DeepEqual(ordered, again) || reflect.DeepEqual(ordered, other) {
		t.Error("the order is not the seed's")
	}
}

// Steps end within their time with the looks at the held-out loss that they come with, after the last one too; one more would not.
func TestStepsWithin(t *testing.T) {
	for _, c := range []struct {
		left, each, look time.Duration
		want             int
	}{{150, 10, 0, 15}, {150, 10, 8, 12}, {159, 10, 8, 12}, {150, 10, 40, 7}, {9, 10, 8, 0}, {-5, 10, 8, 0}, {10_000, 10, 40, 920}, {1601, 10, 40, 88}} {
		n := stepsWithin(c.left*time.Second, c.each*time.Second, c.look*time.Second)
		if n != c.want {
			t.Errorf("%+v: %d steps", c, n)
		}
		cost := func(n int) (sum time.Duration) { // as run does them
			for done := 1; done <= n; done++ {
				if sum += c.each; done%lookEvery(n) == 0 || done == n {
					sum += c.look
				}
			}
			return sum
		}
		if n > 0 && cost(n) > c.left || cost(n+1) <= c.left {
			t.Errorf("%+v: %d steps take %v, one more %v", c, n, cost(n), cost(n+1))
		}
	}
}

// TestWholeAlone: where no layer is trained by itself, the teacher runs the windows of the last stage's steps, and no others.
func TestWholeAlone(t *testing.T) {
	spec, err := modeltest.Named("llama")
	if err != nil {
		t.Fatal(err)
	}
	m, _ := spec.Open(t)
	d := vktest.Open(t, vk.Options{})
	for _, c := range []struct {
		budget         time.Duration
		fewest, most   int
		windows, steps int
	}{{0, 6, 6, 40, 3}, {time.Hour, 6, 6, 40, 3}, {time.Millisecond, 2, 6, 40, 3}, {0, 6, 6, 8, 9}} {
		job := Job{Teacher: m, Student: m, Windows: modeltest.Windows(m.Config.VocabSize, c.windows, 8), Options: Options{Batch: 2, EndToEnd: c.steps, Budget: c.budget}}
		result, err := job.Run(t.Context(), d, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n := result.Progress.Windows; n < c.fewest || n > c.most {
			t.Errorf("%+v: %d windows are trained on", c, n)
		}
	}
	o := Options{EndToEnd: 46, Batch: 2, HeldOut: 4}
	if alone, both := o.CorpusTokens(512, false), o.CorpusTokens(512, true); alone != 96*512 || both != (400+4)*512 {
		t.Errorf("a corpus of %d tokens for the last stage alone, of %d for layers too", alone, both)
	}
}
