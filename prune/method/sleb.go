package method

import (
	"context"
	"errors"

	"github.com/vkcome/vkcome/model"
)

func init() {
	register(Entry{Name: "sleb", Short: "drop the layer whose removal gives the smallest calibration loss, again and again", Place: 51, New: func(Options) Method { return SLEB{} }})
}

// SLEB drops the layer whose removal gives the smallest calibration loss, the first of equals, and tries all that are left again before
// the next. Source: SLEB: Streamlining LLMs through Redundancy Verification and Elimination of Transformer Blocks, arXiv 2402.09025.
type SLEB struct{}

// Name is "sleb".
func (SLEB) Name() string { return "sleb" }

// Needs is a calibration corpus.
func (SLEB) Needs() Needs { return Needs{Corpus: true} }

// Options lists none.
func (SLEB) Options() []string { return nil }

// Cost counts every layer's removal at every step.
func (SLEB) Cost(layers, target int) (passes, heads int) {
	return steps(layers, target, 1, func(from int) (int, int) { return from + from*(from-1)/2, from })
}

// Effective is the same.
func (m SLEB) Effective() Method { return m }

// Check refuses targets that protected layers are in the way of.
func (SLEB) Check(s *State, target int) error { return checkDrops(s, target) }

// Step drops one layer.
func (SLEB) Step(ctx context.Context, s *State, _ int, progress func(done, total int)) (*Step, error) {
	if err := s.score(ctx); err != nil {
		return nil, err
	}
	eligible := make([]bool, len(s.Model.Layers))
	for l := range eligible {
		eligible[l] = !s.protects(l, l+1)
	}
	losses, err := s.without(ctx, 1, eligible, progress)
	if err != nil {
		return nil, err
	}
	best := smallest(losses, eligible)
	if best < 0 {
		return nil, model.Lasting(errors.New("sleb: the calibration loss without any layer is no number"))
	}
	step := &Step{From: len(s.Model.Layers), Operation: Removal, DropList: []int{best}, Losses: losses}
	return step, s.Apply(ctx, step)
}
