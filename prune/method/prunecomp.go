package method

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune/score"
)

func init() {
	register(Entry{Name: "prune-comp", Short: "drop the layer of the smallest block influence, make up for the states' length, score again", Place: 46, New: func(Options) Method { return PruneComp{} }})
}

// PruneComp drops the layer of the smallest block influence, the first of equals, makes up for the length of the states, and scores what is
// left before the next. The length is α, the mean over all tokens of ‖h_out‖/‖h_in‖ of the layer that goes. The paper multiplies what the
// layers below and the embedding add to the residual stream by α; here the layers above are divided by it, which is the same but for the
// length of the last states, which the final norm takes away, and leaves the embedding, and a head that shares it, alone. Source: Prune&Comp,
// Free Lunch for Layer-Pruned LLMs via Iterative Pruning with Magnitude Compensation, arXiv 2507.18212.
type PruneComp struct{}

// Name is "prune-comp".
func (PruneComp) Name() string { return "prune-comp" }

// Needs is a calibration corpus. The states between steps are not those of the opened model, so that layers can be fitted to these in the end,
// all of them, and not before.
func (PruneComp) Needs() Needs { return Needs{Corpus: true, Repairs: true} }

// Options lists none.
func (PruneComp) Options() []string { return nil }

// Cost counts every step in full.
func (PruneComp) Cost(layers, target int) (passes, heads int) {
	return steps(layers, target, 1, func(from int) (int, int) { return from, 0 })
}

// Effective is the same.
func (m PruneComp) Effective() Method { return m }

// Check refuses targets that protected layers are in the way of, and models in which the length of the residual stream means something.
func (m PruneComp) Check(s *State, target int) error {
	if c := s.Model.Config; c.NoInputNorms {
		return fmt.Errorf("%s scales the residual stream, and the layers of a %s read it without a norm: choose another method", m.Name(), c.Architecture)
	}
	if slices.Contains(s.Protected, true) {
		return fmt.Errorf("%s scales all layers above the one that it drops: none can be protected (prune.Options.Protect)", m.Name())
	}
	return checkDrops(s, target)
}

// Step drops one layer.
func (PruneComp) Step(ctx context.Context, s *State, _ int, progress func(done, total int)) (*Step, error) {
	if err := s.score(ctx); err != nil {
		return nil, err
	}
	influence, err := s.Scorer.Skips(ctx, 1, score.Cosine, progress)
	if err != nil {
		return nil, err
	}
	eligible := slices.Repeat([]bool{true}, len(influence))
	best := smallest(influence, eligible)
	if best < 0 {
		return nil, model.Lasting(errors.New("prune-comp: the block influence of no layer is a number"))
	}
	lengths, err := s.Scorer.Skips(ctx, 1, score.Length, nil)
	if err != nil {
		return nil, err
	}
	step := &Step{From: len(s.Model.Layers), Operation: Removal, DropList: []int{best}, SBI: influence, Scores: lengths, Scale: 1 / lengths[best]}
	return step, s.Apply(ctx, step)
}
