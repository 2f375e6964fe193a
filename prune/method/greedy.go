package method

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune/score"
)

func init() {
	register(Entry{Name: "greedy", Short: "drop the layer that does least, of those that turn the hidden states least, score again, and so on", Place: 45, New: func(o Options) Method { return newGreedy(o) }})
}

// Greedy drops, of the layers around which the states differ least, by the mean angle over all tokens, the one without which the calibration
// loss is smallest, the first of equals, and scores what is left before the next. Where layers are fitted, the loss is that after the fit. With
// one candidate the angle alone decides: that is the choice of Gromov et al., The Unreasonable Ineffectiveness of the Deeper Layers, arXiv
// 2403.17887, one layer at a time.
type Greedy struct {
	Candidates int    `json:"candidates"`         // that are tried in each step; 0 is 6
	Selector   string `json:"selector,omitempty"` // empty: the calibration loss decides between them; SelectRefit: what their fits leave, without running the layers above
}

// SelectRefit has greedy and union choose by what the fit of each candidate leaves on the windows held out.
const SelectRefit = "refit"

// newGreedy takes greedy's options from those of all methods.
func newGreedy(o Options) Greedy {
	if o.Selector == SelectAngularAll { // what it does anyway
		o.Selector = ""
	}
	return Greedy{Candidates: o.Candidates, Selector: o.Selector}
}

// Name is "greedy".
func (Greedy) Name() string { return "greedy" }

// Needs is a calibration corpus, and a fit where that decides.
func (g Greedy) Needs() Needs { return Needs{Corpus: true, Refit: g.Selector == SelectRefit} }

// Options lists those that have a meaning for greedy.
func (Greedy) Options() []string {
	return []string{"method.Greedy.Candidates", "method.Greedy.Selector"}
}

// Cost counts every step in full.
func (g Greedy) Cost(layers, target int) (passes, heads int) {
	g = g.defaults()
	return steps(layers, target, 1, func(from int) (int, int) {
		n := min(from, g.Candidates)
		switch {
		case g.Selector == SelectRefit:
			return from + 2*n, 0
		case n == 1:
			return from, 0
		}
		return from + n*from, n
	})
}

// Effective is the method with every default spelled out, as a lineage records it.
func (g Greedy) Effective() Method { return g.defaults() }

func (g Greedy) defaults() Greedy {
	if g.Candidates == 0 {
		g.Candidates = 6
	}
	return g
}

// Check refuses options out of range and targets that protected layers are in the way of.
func (g Greedy) Check(s *State, target int) error {
	if g.Candidates < 0 || g.Candidates > 1000 {
		return fmt.Errorf("%d candidates, expected 1 to 1000", g.Candidates)
	}
	if g.Selector != "" && g.Selector != SelectRefit {
		return fmt.Errorf("selector %q, expected %q, which is what greedy does anyway, or %q", g.Selector, SelectAngularAll, SelectRefit)
	}
	return checkDrops(s, target)
}

// Step drops one layer.
func (g Greedy) Step(ctx context.Context, s *State, _ int, progress func(done, total int)) (*Step, error) {
	step, err := g.choose(ctx, s, func(l int) bool { return !s.protects(l, l+1) }, progress)
	if err != nil {
		return nil, err
	}
	return step, s.Apply(ctx, step)
}

// choose is the step that drops the best of the layers that may go.
func (g Greedy) choose(ctx context.Context, s *State, may func(l int) bool, progress func(done, total int)) (*Step, error) {
	g = g.defaults()
	if err := s.score(ctx); err != nil {
		return nil, err
	}
	angles, err := s.Scorer.Skips(ctx, 1, score.Angle, nil)
	if err != nil {
		return nil, err
	}
	var order []int // of the layers that may go, by their angles
	for l, v := range angles {
		if may(l) && v == v {
			order = append(order, l)
		}
	}
	if len(order) == 0 {
		return nil, model.Lasting(fmt.Errorf("all of the %d layers that are left are protected, or the angle of the states around them is no number", len(angles)))
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(angles[a], angles[b]) })
	order = order[:min(len(order), g.Candidates)]
	step := &Step{From: len(s.Model.Layers), Operation: Removal, DropList: order[:1:1], SBI: angles}
	if len(order) > 1 {
		slices.Sort(order)
		return g.tryAll(ctx, s, step, order, progress)
	}
	return step, nil
}

// tryAll is the step that drops the best of some layers.
func (g Greedy) tryAll(ctx context.Context, s *State, step *Step, order []int, progress func(done, total int)) (*Step, error) {
	var trials []trial
	var candidates []run.Candidate
	var left []float64
	for i, l := range order {
		drop := *step
		drop.DropList = []int{l}
		t, err := s.try(ctx, &drop)
		if err != nil {
			return nil, err
		}
		trials, candidates, left = append(trials, t), append(candidates, t.Candidate), append(left, t.loss)
		if g.Selector == SelectRefit && progress != nil {
			progress(i+1, len(order))
		}
	}
	tried := marked(order, len(s.Model.Layers))
	if g.Selector == SelectRefit {
		best := smallest(left, nil)
		if best < 0 {
			return nil, model.Lasting(errors.New("greedy: the layers before all of the candidates are protected, or what is left of them is no number: nothing is fitted that could be compared"))
		}
		step = trials[best].Step
		step.Scores = spread(left, tried)
		return step, nil
	}
	losses, err := s.Scorer.Losses(ctx, len(s.Model.Layers)-1, candidates, progress)
	if err != nil {
		return nil, err
	}
	best := smallest(losses, nil)
	if best < 0 {
		return nil, model.Lasting(errors.New("greedy: the calibration loss without any of the candidates is no number"))
	}
	step = trials[best].Step
	step.Losses = spread(losses, tried)
	return step, nil
}

// marked is n values of which those at the places of a list are true.
func marked(list []int, n int) []bool {
	is := make([]bool, n)
	for _, i := range list {
		is[i] = true
	}
	return is
}
