package method

import (
	"context"
	"fmt"

	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/refit"
)

func init() {
	register(Entry{Name: "union", Short: "merge the layer that greedy would drop into the one below, with the neurons of both that a fit needs most", Place: 48, New: func(o Options) Method { return Union{newGreedy(o)} }})
}

// Union takes the layer that Greedy would drop and the one below it, and makes a layer of both: with the attention of the lower one, and of both
// layers' neurons those that a fit can do without least, see refit.Union. The fit itself is that of refit.Options, without which there is none.
// Where the loss that is left on windows held out is not less than that of dropping the upper layer, that is done.
type Union struct{ Greedy }

// Name is "union".
func (Union) Name() string { return "union" }

// Needs is a calibration corpus, a fit, and the memory of a union.
func (Union) Needs() Needs { return Needs{Corpus: true, Refit: true, Union: true} }

// Cost counts every step in full, the choice of neurons as a pass of two layers.
func (u Union) Cost(layers, target int) (passes, heads int) {
	passes, heads = u.Greedy.Cost(layers, target)
	return passes + 4*(layers-target), heads
}

// Effective is the method with every default spelled out, as a lineage records it.
func (u Union) Effective() Method { return Union{u.defaults()} }

// Check refuses options out of range, models with experts, and targets that protected layers are in the way of.
func (u Union) Check(s *State, target int) error {
	if s.Model.Config.Experts > 0 {
		return fmt.Errorf("%s chooses neurons, and layers of a %s have experts: use greedy", u.Name(), s.Model.Config.Architecture)
	}
	if reach := (CoMe{Repeat: true}).Reach(s.Tree, s.Protected, nil); target < reach {
		return fmt.Errorf("%d target layers: with the protected layers left alone, the model reaches %d; protect fewer (prune.Options.Protect)", target, reach)
	}
	return u.Greedy.Check(s, target)
}

// Step merges a pair.
func (u Union) Step(ctx context.Context, s *State, _ int, progress func(done, total int)) (*Step, error) {
	step, err := u.choose(ctx, s, func(l int) bool { return l > 0 && !s.protects(l-1, l+1) }, progress)
	if err != nil {
		return nil, err
	}
	upper := step.DropList[0]
	kept, took, err := refit.Union(ctx, s.Scorer, s.Model, upper-1, s.end(upper), *s.Refit)
	if err != nil {
		return nil, err
	}
	s.Solving += took
	heads := make([]int, s.Model.Config.KVHeads)
	for k := range heads {
		heads[k] = k
	}
	neurons := float64(s.Model.Config.IntermediateSize)
	union := *step
	union.Operation, union.DropList, union.MergeList, union.Norm = Concat, nil, []int{upper - 1, upper}, NormFirst
	union.Kept = []merge.Kept{{KVHeads: heads, Neurons: kept[0]}, {Neurons: kept[1]}}
	union.Ratio = []float64{float64(len(kept[0])) / neurons, float64(len(kept[1])) / neurons}
	dropped, err := s.try(ctx, step)
	if err != nil {
		return nil, err
	}
	merged, err := s.try(ctx, &union)
	if err != nil {
		return nil, err
	}
	if step = dropped.Step; merged.loss < dropped.loss {
		step = merged.Step
	}
	step.Scores = Scores{dropped.loss, merged.loss}
	return step, s.Apply(ctx, step)
}
