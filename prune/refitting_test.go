package prune_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// repeated are windows of which every third repeats the one before: a fit to random tokens helps nowhere else.
func repeated(vocab, n, window int) [][]uint32 {
	windows := modeltest.Windows(vocab, n, window)
	for w := 2; w < n; w += 3 {
		windows[w] = windows[w-1]
	}
	return windows
}

// TestFitEnd compares a prune that fits all layers in the end with one that fits nothing and a refit of what it left: the same bytes, of a
// method that drops, of one that merges, and of one that repairs what it leaves by itself. A replay of the steps gives them again.
func TestFitEnd(t *testing.T) {
	m, _ := seven.Open(t)
	windows := repeated(seven.Vocab, 6, 24)
	d := vktest.Open(t, vk.Options{})
	fit := refit.Options{HeldOut: 3, Lambdas: []float64{0.1, 1}, Projections: refit.Both}
	for _, k := range []method.Method{method.ShortGPT{}, method.CoMe{}, method.PruneComp{}} {
		dir := t.TempDir()
		pruned := func(name string, o prune.Options) *prune.Lineage {
			t.Helper()
			o.Windows = windows
			plan, err := prune.NewPlan(m, o)
			if err != nil {
				t.Fatal(err)
			}
			l, err := plan.RunTo(t.Context(), d, prune.Output{Dir: filepath.Join(dir, name)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		pruned("plain", prune.Options{Method: k, TargetLayers: 4})
		end := fit
		end.End = true
		l := pruned("end", prune.Options{Method: k, TargetLayers: 4, Refit: &end})
		pruned("again", prune.Options{Replay: l, Refit: &end})
		all := fit
		all.All = true
		p, err := prune.NewRefitting(m, modeltest.Open(t, filepath.Join(dir, "plain")), prune.RefittingOptions{Refit: all, Windows: windows})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.RunTo(t.Context(), d, prune.Output{Dir: filepath.Join(dir, "refit")}, nil); err != nil {
			t.Fatal(err)
		}
		weights := func(name string) string { return filesIn(t, filepath.Join(dir, name))["model.safetensors"] }
		if weights("end") != weights("refit") || weights("end") == weights("plain") || weights("again") != weights("end") {
			t.Errorf("%s: fitted in the end and fitted afterwards differ, or nothing was fitted", k.Name())
		}
		for i, s := range l.Steps {
			if fitted := len(s.Refit) > 0; fitted != (i == len(l.Steps)-1) {
				t.Errorf("%s: step %d of %d has the fits %v", k.Name(), i+1, len(l.Steps), s.Refit)
			}
		}
	}
	end := refit.Options{End: true, HeldOut: 3}
	for _, c := range []struct {
		fit  *refit.Options
		k    method.Method
		want string
	}{
		{&end, method.Union{}, "cannot wait for the end"},
		{&end, method.Greedy{Selector: method.SelectRefit}, "cannot wait for the end"},
		{&refit.Options{HeldOut: 3}, method.PruneComp{}, "refit.Options.End"},
	} {
		if _, err := prune.NewPlan(m, prune.Options{Method: c.k, TargetLayers: 4, Windows: windows, Refit: c.fit}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %+v: %v, expected %q", c.k.Name(), *c.fit, err, c.want)
		}
	}
}

// TestRefitting fits a model that lost layers 2 and 4 to the one that it was made of. A run that is stopped after each layer and resumed, one
// with the correspondence given, and a prune that fits after a step that drops both give the same bytes.
func TestRefitting(t *testing.T) {
	m, _ := seven.Open(t)
	windows := repeated(seven.Vocab, 6, 24)
	d := vktest.Open(t, vk.Options{})
	dir := t.TempDir()
	options := refit.Options{HeldOut: 3, Lambdas: []float64{0.1, 1}}
	pruned := func(name string, fit *refit.Options) string {
		out := filepath.Join(dir, name)
		plan, err := prune.NewPlan(m, prune.Options{Method: method.Drop{Layers: []int{2, 4}}, Windows: windows, Refit: fit})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plan.RunTo(t.Context(), d, prune.Output{Dir: out}, nil); err != nil {
			t.Fatal(err)
		}
		return out
	}
	plain := pruned("plain", nil)
	want := filesIn(t, pruned("on the way", &options))
	student := modeltest.Open(t, plain)
	fitted := func(ctx context.Context, name string, resume bool, groups []distill.Group) (*prune.Lineage, error) {
		p, err := prune.NewRefitting(m, student, prune.RefittingOptions{Refit: options, Windows: windows, Groups: groups})
		if err != nil {
			t.Fatal(err)
		}
		return p.RunTo(ctx, d, prune.Output{Dir: filepath.Join(dir, name), Resume: resume}, nil)
	}
	check := func(name string) {
		got := filesIn(t, filepath.Join(dir, name))
		if got["model.safetensors"] != want["model.safetensors"] {
			t.Errorf("%s: other weights than a prune that fits", name)
		}
	}
	l, err := fitted(t.Context(), "alone", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	check("alone")
	var made []int
	for _, f := range l.Refit.Fits {
		if made = append(made, f.Layer, f.Boundary); !f.Taken || !(f.After < f.Before) {
			t.Errorf("%+v: not taken", f)
		}
	}
	if fmt.Sprint(made) != "[1 3 2 5]" || l.Refit.Teacher.Layers != 7 || len(l.Steps) != 1 {
		t.Errorf("the lineage has the fits %v: %+v", made, l)
	}
	if _, err := fitted(t.Context(), "mapped", false, []distill.Group{{Layer: 1, First: 1, Last: 2}, {Layer: 2, First: 3, Last: 4}}); err != nil {
		t.Fatal(err)
	}
	check("mapped")
	for n := 1; n <= 2; n++ {
		name := fmt.Sprint("stopped", n)
		path := filepath.Join(prune.DefaultWork(filepath.Join(dir, name)), fmt.Sprintf("step-%06d", n))
		if _, err := fitted(stopping{t.Context(), path, context.Canceled}, name, false, nil); !errors.As(err, new(*prune.Unfinished)) {
			t.Fatalf("stopped after layer %d: %v", n, err)
		}
		if _, err := fitted(t.Context(), name, true, nil); err != nil {
			t.Fatal(err)
		}
		if a, b := filesIn(t, filepath.Join(dir, "alone")), filesIn(t, filepath.Join(dir, name)); a[model.Lineage] != b[model.Lineage] {
			t.Errorf("resumed after layer %d: the lineage is\n%s\nwant\n%s", n, b[model.Lineage], a[model.Lineage])
		}
		check(name)
	}
	if again, err := fitted(t.Context(), "alone", true, nil); err != nil || again == nil {
		t.Errorf("resumed when it was done: %v", err)
	}

	every := options
	every.All = true
	p, err := prune.NewRefitting(m, student, prune.RefittingOptions{Refit: every, Windows: windows})
	if err != nil {
		t.Fatal(err)
	}
	if l, err = p.RunTo(t.Context(), d, prune.Output{Dir: filepath.Join(dir, "every layer")}, nil); err != nil {
		t.Fatal(err)
	}
	made = nil
	for _, f := range l.Refit.Fits {
		made = append(made, f.Layer, f.Boundary)
	}
	if fmt.Sprint(made) != "[1 3 2 5 3 6 4 7]" {
		t.Errorf("all layers: fits %v", made)
	}

	for what, o := range map[string]prune.RefittingOptions{
		"corpus is empty":         {Refit: options},
		"expected one of":         {Refit: refit.Options{Projections: "up"}, Windows: windows},
		"the student has 5":       {Refit: options, Windows: windows, Groups: []distill.Group{{Layer: 5, First: 1, Last: 2}}},
		"come from a model of 7":  {Refit: options, Windows: windows},
		"every 7. of the windows": {Refit: refit.Options{HeldOut: 7}, Windows: windows},
		"there is nothing to fit": {Refit: options, Windows: windows, Groups: []distill.Group{}},
	} {
		teacher := m
		if strings.HasPrefix(what, "come from") {
			teacher = student
		}
		if _, err := prune.NewRefitting(teacher, student, o); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRefitReplay does the steps of a lineage with fits again: with a corpus to the same bytes, without one it is refused.
func TestRefitReplay(t *testing.T) {
	m, _ := seven.Open(t)
	d := vktest.Open(t, vk.Options{})
	o := prune.Options{TargetLayers: 5, Method: method.Greedy{Candidates: 3}, Windows: repeated(seven.Vocab, 6, 24), Refit: &refit.Options{HeldOut: 3}}
	run := func(o prune.Options) *prune.Result {
		t.Helper()
		plan, err := prune.NewPlan(m, o)
		if err != nil {
			t.Fatal(err)
		}
		r, err := plan.Run(t.Context(), d, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := run(o)
	if _, err := prune.NewPlan(m, prune.Options{Replay: &first.Lineage}); err == nil || !strings.Contains(err.Error(), "prune.Options.Refit") {
		t.Errorf("a plan with fits and no corpus: %v", err)
	}
	again := run(prune.Options{Replay: &first.Lineage, Refit: o.Refit, Windows: o.Windows})
	for l := range first.Model.Layers {
		for role, w := range first.Model.Layers[l].Weights {
			if !slices.Equal(modeltest.Bytes(t, w), modeltest.Bytes(t, again.Model.Layers[l].Weights[role])) {
				t.Errorf("layer %d: %s differs when the plan is done again", l, w.Name)
			}
		}
	}
}

// TestFitsInLittleMemory fits within less and less device memory, where the sums of a layer are made in several runs and what is free lies in pieces:
// the same bytes, down to a refusal that says what is missing.
func TestFitsInLittleMemory(t *testing.T) {
	spec := seven
	spec.Intermediate = 600
	m, _ := spec.Open(t)
	windows := modeltest.Windows(spec.Vocab, 8, 24)
	for _, k := range []method.Method{method.ShortGPT{}, method.Union{Greedy: method.Greedy{Candidates: 1}}} {
		var want []byte
		fitted := 0
		for _, memory := range []int64{0, 32, 26, 8} { // MiB
			d := vktest.Open(t, vk.Options{MaxMemory: memory << 20})
			plan, err := prune.NewPlan(m, prune.Options{TargetLayers: 5, Method: k, Windows: windows, Refit: &refit.Options{Projections: refit.Both, Lambdas: []float64{0.1, 1}}})
			if err != nil {
				t.Fatal(err)
			}
			r, err := plan.Run(t.Context(), d, nil)
			if err != nil {
				if !strings.Contains(err.Error(), "cannot hold one window") || memory == 0 {
					t.Errorf("%s within %d MiB: %v", k.Name(), memory, err)
				}
				continue
			}
			fitted++
			var got []byte
			for _, l := range r.Model.Layers {
				for _, w := range l.Weights {
					if !w.IsZero() {
						got = append(got, modeltest.Bytes(t, w)...)
					}
				}
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if want == nil {
				want = got
			} else if !bytes.Equal(want, got) {
				t.Errorf("%s within %d MiB: other bytes", k.Name(), memory)
			}
		}
		if fitted < 3 {
			t.Errorf("%s ran within %d of the limits alone", k.Name(), fitted)
		}
	}
}

// firstStep is the first step of a run.
func firstStep(t *testing.T, d *vk.Device, m *model.Model, o prune.Options) *method.Step {
	t.Helper()
	plan, err := prune.NewPlan(m, o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := plan.Run(t.Context(), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return r.Lineage.Steps[0]
}

// TestRatioByFit has come-p go by what the fit of each ratio leaves. All of the lower layer is what dropping the upper one leaves, which a run does by
// itself; and what is done is the ratio that leaves least, with its fit.
func TestRatioByFit(t *testing.T) {
	m, _ := seven.Open(t)
	d := vktest.Open(t, vk.Options{})
	windows, fit := repeated(seven.Vocab, 6, 24), &refit.Options{HeldOut: 3, Lambdas: []float64{0.1, 1}}
	run := func(k method.Method, target int) *method.Step {
		t.Helper()
		return firstStep(t, d, m, prune.Options{TargetLayers: target, Method: k, Windows: windows, Refit: fit})
	}
	step := run(method.CoMeP{CoMe: method.CoMe{Norm: method.NormRatio}, Granularity: 3}, 6)
	if len(step.Scores) != 4 || len(step.MergeList) != 2 || step.Losses != nil {
		t.Fatalf("scores %v of layers %v, losses %v", step.Scores, step.MergeList, step.Losses)
	}
	fits := run(method.Drop{Layers: []int{step.MergeList[1]}}, 0).Refit
	if want := fits[len(fits)-1].Left(); step.Scores[3] != want {
		t.Errorf("all of layer %d leaves %v, without layer %d it is %v", step.MergeList[0], step.Scores[3], step.MergeList[1], want)
	}
	best := 0
	for k, v := range step.Scores {
		if v < step.Scores[best] {
			best = k
		}
		if k > 0 && v == step.Scores[k-1] {
			t.Errorf("ratios %d and %d of 3 leave the same, %v", k-1, k, v)
		}
	}
	if want := float64(best) / 3; step.Ratio[0] != want || len(step.Refit) == 0 || step.Refit[len(step.Refit)-1].Left() != step.Scores[best] {
		t.Errorf("ratio %v and fits %+v, expected the ratio %v of %v", step.Ratio, step.Refit, want, step.Scores)
	}
}

// TestSelectRefit has greedy go by what the fit after each drop leaves, and compares that with runs that drop each layer and fit. Without a fit, and
// with a selector of others, it is refused.
func TestSelectRefit(t *testing.T) {
	m, _ := seven.Open(t)
	d := vktest.Open(t, vk.Options{})
	windows, fit := repeated(seven.Vocab, 6, 24), &refit.Options{HeldOut: 3, Lambdas: []float64{0.1, 1}}
	run := func(k method.Method, target int) *method.Step {
		t.Helper()
		return firstStep(t, d, m, prune.Options{TargetLayers: target, Method: k, Windows: windows, Refit: fit})
	}
	step := run(method.Greedy{Candidates: 7, Selector: method.SelectRefit}, 6)
	best := 0
	for l, got := range step.Scores {
		fits := run(method.Drop{Layers: []int{l}}, 0).Refit
		if want := fits[len(fits)-1].Left(); got != want {
			t.Errorf("layer %d: the fit leaves %v, alone %v", l, got, want)
		}
		if got < step.Scores[best] {
			best = l
		}
	}
	if len(step.Scores) != 7 || len(step.DropList) != 1 || step.DropList[0] != best || step.Losses != nil {
		t.Errorf("dropped %v, the least is left without %d: %v", step.DropList, best, step.Scores)
	}
	merged := run(method.Union{Greedy: method.Greedy{Candidates: 7, Selector: method.SelectRefit}}, 6)
	if list := append(merged.DropList, merged.MergeList...); list[len(list)-1] != best && best > 0 {
		t.Errorf("union took %v, the least is left without %d", list, best)
	}
	for want, o := range map[string]prune.Options{
		"prune.Options.Refit": {TargetLayers: 6, Method: method.Greedy{Selector: method.SelectRefit}, Windows: windows},
		"selector":            {TargetLayers: 6, Method: method.Greedy{Selector: method.SelectBI}, Windows: windows, Refit: fit},
	} {
		if _, err := prune.NewPlan(m, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q: %v", want, err)
		}
	}
}
