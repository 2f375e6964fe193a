package method

import (
	"context"
	"fmt"

	"github.com/vkcome/vkcome/prune/refit"
)

func init() {
	register(Entry{Name: "replaceme", Short: "drop adjacent layers all at once, and fit a linear map in their place into the layer before", Place: 49, New: func(Options) Method { return ReplaceMe{} }})
	register(Entry{Name: "replaceme-cos", Short: "the same with a map that brings the states' directions together", Place: 50, New: func(Options) Method { return ReplaceMe{Cosine: true} }})
}

// ReplaceMe drops adjacent layers at once, those around which the states differ least by the mean of 1 − cos over all tokens, and puts a linear
// map in their place, which goes into the down projection of the layer before: see refit.Transform. Source: ReplaceMe, Network Simplification
// via Depth Pruning and Transformer Block Linearization, arXiv 2505.02819.
type ReplaceMe struct {
	Cosine bool `json:"cosine,omitempty"` // the map makes the states' angles small, see refit.TransformCosine; else the squares
}

// Name is "replaceme" or "replaceme-cos".
func (m ReplaceMe) Name() string {
	if m.Cosine {
		return "replaceme-cos"
	}
	return "replaceme"
}

// Needs is a calibration corpus, and the states of the opened model.
func (ReplaceMe) Needs() Needs { return Needs{Corpus: true, Held: true, Repairs: true, Block: true} }

// Options lists none.
func (ReplaceMe) Options() []string { return nil }

// Cost is one pass of the model, and one of a layer.
func (ReplaceMe) Cost(layers, _ int) (passes, heads int) { return layers + 1, 0 }

// Effective is the same.
func (m ReplaceMe) Effective() Method { return m }

// Check refuses targets for which no adjacent layers can go, and models with experts.
func (m ReplaceMe) Check(s *State, target int) error {
	if s.Model.Config.Experts > 0 {
		return fmt.Errorf("%s transforms what a layer's MLP gives, and layers of a %s have experts: use another method", m.Name(), s.Model.Config.Architecture)
	}
	if m.Cosine && s.Model.Config.OutputNorms {
		return fmt.Errorf("%s changes directions alone, and a %s has a norm behind its MLP, which leaves no other: use replaceme", m.Name(), s.Model.Config.Architecture)
	}
	return checkBlock(s, target, 0)
}

// Step drops all layers at once.
func (m ReplaceMe) Step(ctx context.Context, s *State, target int, progress func(done, total int)) (*Step, error) {
	step, err := dropBlock(ctx, s, target, 0, progress)
	if err != nil {
		return nil, err
	}
	l := step.DropList[0] - 1
	if err := s.score(ctx); err != nil {
		return nil, err
	}
	transform := refit.Transform
	if m.Cosine {
		transform = refit.TransformCosine
	}
	fitted, fit, err := transform(ctx, s.Scorer, s.Model, refit.Target{Layer: l, Boundary: s.end(l)})
	if err != nil {
		return nil, err
	}
	step.Refit = []refit.Fit{fit}
	if fitted == nil {
		return step, nil
	}
	return step, s.replace(l, fitted)
}
