package prune

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestAutoReplay takes a search's choice again with the steps of its trial, as it does where there is no time for a choice with all windows: the
// model has these steps, every layer from the lowest that stands for others on is fitted with the windows that there was time for, and the plan in
// its lineage gives the same bytes. A search that was stopped has the steps of its trials.
func TestAutoReplay(t *testing.T) {
	m, _ := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 7, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 61, Context: 32}.Open(t)
	d, dir := vktest.Open(t, vk.Options{}), t.TempDir()
	fit := &refit.Options{All: true, Projections: refit.Both, Lambdas: []float64{0.1, 1}}
	a, err := NewAuto(m, AutoOptions{TargetLayers: 5, Budget: time.Hour, Windows: modeltest.Windows(61, 32, 16),
		Candidates: []Candidate{{"union", method.Union{Greedy: method.Greedy{Candidates: 1}}, fit}, {"replaceme", method.ReplaceMe{}, nil}}})
	if err != nil {
		t.Fatal(err)
	}
	source, err := model.Hash(t.Context(), m.Files)
	if err != nil {
		t.Fatal(err)
	}
	s := &search{Auto: a, device: d, progress: func(Status) {}, path: filepath.Join(dir, "search"), record: AutoRecord{Key: a.key(source, d)}}
	s.begin()
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	trial := s.measured(0)[slices.IndexFunc(s.measured(0), func(t *Trial) bool { return t.Candidate == "union" })]
	if trial.Fitted < 4 || // each step tries a removal and a union
		trial.Fitting <= 0 || trial.Solving <= 0 || trial.Fitting+trial.Solving > trial.Seconds || len(s.steps["union"]) != 2 {
		t.Fatalf("%+v, %d steps", trial, len(s.steps["union"]))
	}
	s.record.Chosen, s.record.Replayed, s.record.Windows = "union", true, 20
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	stopped := &search{Auto: a, device: d, path: s.path, record: AutoRecord{Key: s.record.Key}}
	out := Output{Dir: filepath.Join(dir, "out"), Resume: true}.defaults()
	if done, err := stopped.open(out); done != nil || err != nil {
		t.Fatal(done, err)
	}
	var weights []string
	for _, s := range []*search{s, stopped} {
		plan, err := s.plan(source)
		if err != nil {
			t.Fatal(err)
		}
		r, err := plan.Run(t.Context(), d, nil)
		if err != nil {
			t.Fatal(err)
		}
		weights = append(weights, weightsOf(t, r))
		if len(r.Model.Layers) != 5 || r.Lineage.Auto == nil || r.Lineage.Method != "union" || r.Lineage.Calibration.Windows != 20 {
			t.Errorf("%d layers, %+v", len(r.Model.Layers), r.Lineage)
		}
		layers := map[int]bool{}
		last := r.Lineage.Steps[1]
		for _, f := range last.Refit {
			layers[f.Layer] = true
		}
		for i, step := range r.Lineage.Steps {
			if was := s.steps["union"][i]; step.Operation != was.Operation || !slices.Equal(step.DropList, was.DropList) || !slices.Equal(step.MergeList, was.MergeList) || !reflect.DeepEqual(step.Kept, was.Kept) {
				t.Errorf("step %d is %+v, its trial's %+v", i, step, was)
			}
		}
		lowest := 4
		for l, tree := range slices.Backward(r.Lineage.Tree) {
			if len(tree.Merged) > 0 {
				lowest = l
			} else if tree.Layer != l {
				lowest = max(0, l-1)
			}
		}
		for l := lowest; l < 5; l++ {
			if !layers[l] {
				t.Errorf("layer %d is not fitted in the end, as layers from %d on are to be", l, lowest)
			}
		}
		raw, err := r.Lineage.text()
		if err != nil {
			t.Fatal(err)
		}
		var again Lineage
		if err := json.Unmarshal(raw, &again); err != nil {
			t.Fatal(err)
		}
		p, err := NewPlan(m, Options{Replay: &again, Refit: &again.Refit.Options, Windows: plan.Options.Windows})
		if err != nil {
			t.Fatal(err)
		}
		if r, err = p.Run(t.Context(), d, nil); err != nil {
			t.Fatal(err)
		}
		weights = append(weights, weightsOf(t, r))
	}
	if len(slices.Compact(weights)) != 1 {
		t.Errorf("the search, its plan and the search resumed give %v", weights)
	}
}

// weightsOf is a hash of a result's layers, which is then closed.
func weightsOf(t *testing.T, r *Result) string {
	t.Helper()
	var all []byte
	for _, l := range r.Model.Layers {
		for _, w := range l.Weights {
			if !w.IsZero() {
				all = fmt.Append(all, modeltest.Floats(t, w))
			}
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	return hashBytes(all)
}

// TestAutoCost chooses by what trials took: all windows and a choice of its own where there is time for that, the trial's steps with as many windows as
// there is time for where there is not, the next best where that is too few, and the best as its trial had it where nothing is affordable.
func TestAutoCost(t *testing.T) {
	fit := &refit.Options{All: true, Projections: refit.Both}
	layers := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 10, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 61, Context: 32}
	m, _ := layers.Open(t)
	steps := map[string][]*method.Step{"slow": {{}}, "quick": {{}}}
	trials := []Trial{ // of 10 layers, each 0.01 s for a window: a layer's fit is 5 s and 0.04 s for a window, slow's choice is 100 s of 10 windows and quick's 10 s
		{Candidate: "slow", Windows: 10, Perplexity: 10, Seconds: 127, Fitting: 27, Fitted: 5, Outcome: goesOn},
		{Candidate: "quick", Windows: 10, Perplexity: 11, Seconds: 37, Fitting: 27, Fitted: 5, Outcome: behind},
		{Candidate: "unfitted", Windows: 10, Perplexity: 12, Seconds: 10, Outcome: behind},
	}
	for _, c := range []struct {
		left     float64 // seconds
		solving  float64 // of the trial's choice, seconds that do not depend on windows
		chosen   string
		windows  int
		replayed bool
	}{
		{500, 0, "slow", 40, false},  // 400 for its choice, 10 layers' fits of 6.6, 4 for the opened model: 470
		{300, 0, "slow", 23, false},  // 50 and 10.5 for a window
		{200, 0, "slow", 40, true},   // 14 windows for a choice of its own are not twice those of the trial
		{200, 80, "slow", 28, false}, // 130 and 2.5 for a window
		{80, 0, "slow", 40, true},    // 70
		{68, 0, "slow", 36, true},    // 50 and 0.5 for a window
		{57.2, 0, "slow", 14, true},
		{52, 0, "unfitted", 40, false}, // 44
		{1, 0, "slow", 10, true},
	} {
		a, err := NewAuto(m, AutoOptions{TargetLayers: 5, Budget: time.Hour, Windows: modeltest.Windows(61, 40, 16),
			Candidates: []Candidate{{"slow", method.Union{}, fit}, {"quick", method.Greedy{}, fit}, {"unfitted", method.Greedy{}, nil}}})
		if err != nil {
			t.Fatal(err)
		}
		s := &search{Auto: a, path: filepath.Join(t.TempDir(), "search"), pass: 0.01, steps: steps}
		s.begin()
		s.record.Trials = slices.Clone(trials)
		s.record.Trials[0].Solving = c.solving
		s.began = time.Now().Add(-time.Duration(float64(time.Hour) - c.left*float64(time.Second))) // without healing, all is for what is chosen
		if err := s.choose(); err != nil {
			t.Fatal(err)
		}
		if r := s.record; r.Chosen != c.chosen || r.Windows < c.windows-1 || r.Windows > c.windows || r.Replayed != c.replayed {
			t.Errorf("%v s left: %s with %d windows, steps as they are: %v, want %+v (%s)", c.left, r.Chosen, r.Windows, r.Replayed, c, r.Why)
		}
	}
}

// TestAutoEnough: a round ends when the best of two has no time left for all windows, and not before.
func TestAutoEnough(t *testing.T) {
	fit := &refit.Options{All: true, Projections: refit.Both}
	m, _ := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 10, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 61, Context: 32}.Open(t)
	windows := modeltest.Windows(61, 40, 16)
	a, err := NewAuto(m, AutoOptions{TargetLayers: 5, Budget: time.Hour, Windows: windows,
		Candidates: []Candidate{{"quick", method.Greedy{}, fit}, {"block", method.Streamline{}, fit}, {"slow", method.Union{}, fit}, {"late", method.Greedy{}, nil}}})
	if err != nil {
		t.Fatal(err)
	}
	trials := []Trial{ // as in TestAutoCost: with all windows slow takes 470 s
		{Candidate: "quick", Windows: 10, Perplexity: 11, Seconds: 37, Fitting: 27, Fitted: 5, Outcome: goesOn},
		{Candidate: "slow", Windows: 10, Perplexity: 10, Seconds: 127, Fitting: 27, Fitted: 5, Outcome: goesOn},
		{Candidate: "block", Windows: 10, Perplexity: 12, Seconds: 7, Fitting: 5.4, Fitted: 1, Outcome: goesOn},
	}
	search := func(left float64, trials []Trial) *search {
		s := &search{Auto: a, path: filepath.Join(t.TempDir(), "search"), pass: 0.01, record: AutoRecord{Trials: slices.Clone(trials)}}
		s.began = time.Now().Add(-time.Duration(float64(time.Hour) - left*float64(time.Second)))
		return s
	}
	for _, c := range []struct {
		left   float64
		trials []Trial
		want   string
	}{{600, trials, ""}, {400, trials, "slow"}, {400, trials[1:2], ""}, {100, nil, ""}} {
		if got := search(c.left, c.trials).enough(0); got != c.want {
			t.Errorf("%v s left, %d trials: %q, want %q", c.left, len(c.trials), got, c.want)
		}
	}
	s := search(400, trials)
	more, err := s.round(t.Context(), nil, 0, windows[:10], a.Options.Candidates)
	if err != nil || more {
		t.Error(more, err)
	}
	if last := s.record.Trials[3]; len(s.record.Trials) != 4 || last.Candidate != "late" || last.Outcome != "not tried: the time that is left goes to more windows for slow" {
		t.Errorf("%+v", s.record.Trials)
	}
	if quick, slow, block := s.record.Trials[0].Outcome, s.record.Trials[1].Outcome, s.record.Trials[2].Outcome; quick != goesOn || slow != goesOn || block != behind {
		t.Errorf("quick %s, slow %s, block %s", quick, slow, block)
	}
	// Before what did best on real models was tried, there is no end: here there is no time left for it either.
	s = search(-1, []Trial{trials[0], trials[2]})
	if _, err := s.round(t.Context(), nil, 0, windows[:10], a.Options.Candidates); err != nil || s.record.Trials[2].Outcome != "not tried: no time was left for the search" {
		t.Errorf("%v %+v", err, s.record.Trials[2])
	}
	// A block that goes at once needs one fit, steps need five.
	s = search(400, trials[:1])
	if block, quick := s.least(a.Options.Candidates[1], 0, 10), s.least(a.Options.Candidates[0], 0, 10); block > 6 || quick < 27 {
		t.Errorf("a block takes %v s at least, steps %v", block, quick)
	}
}

// TestAutoHealing: where there is time for many steps of all weights, layers are trained by themselves before; where there is not, the smallest steps
// are all that is trained, at a rate that is larger the fewer they are. What was given stays.
func TestAutoHealing(t *testing.T) {
	m, _ := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 10, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 61, Context: 32}.Open(t)
	for _, c := range []struct {
		heal     float64 // seconds; a step of two windows takes 1.2
		given    distill.Options
		schedule string
		batch    int
		heldOut  int
		rate     float64 // of the default; 0: left to distill
	}{
		{10_000, distill.Options{}, DistillAtEnd, 16, 0, 1},
		{400, distill.Options{}, DistillAtEnd, 4, 0, 0.5},
		{100, distill.Options{}, DistillWhole, 2, 0, 0.3536},
		{100, distill.Options{HeldOut: 16}, DistillWhole, 2, 16, 0.3536},
		{100, distill.Options{Batch: 4}, DistillAtEnd, 4, 0, 0},
		{10, distill.Options{}, DistillWhole, 2, 0, 0.6928},
		{2, distill.Options{}, DistillWhole, 2, 0, 1},
	} {
		h := &DistillOptions{Schedule: DistillAtEnd, Options: c.given, Windows: modeltest.Windows(61, 40, 16)}
		a, err := NewAuto(m, AutoOptions{TargetLayers: 5, Budget: time.Hour, Windows: modeltest.Windows(61, 40, 16), Heal: h})
		if err != nil {
			t.Fatal(err)
		}
		full, err := c.given.Defaults(m, 40, 16)
		if err != nil {
			t.Fatal(err)
		}
		got := (&search{Auto: a, pass: 0.01, record: AutoRecord{Heal: c.heal}}).healing(*h)
		if o := got.Options; got.Schedule != c.schedule || o.Batch != c.batch || o.HeldOut != c.heldOut || o.EndToEnd != endToEndSteps || o.Budget.Seconds() != c.heal || math.Abs(o.EndLR/full.EndLR-c.rate) > 1e-4 {
			t.Errorf("%v s, %+v given: %s with %+v", c.heal, c.given, got.Schedule, o)
		}
	}
}
