package method

import (
	"context"
)

func init() {
	register(Entry{Name: "shortgpt", Short: "drop the layers of the smallest block influence", Place: 40, New: func(Options) Method { return ShortGPT{} }})
}

// ShortGPT drops the layers of the smallest block influence, scored once. Source: ShortGPT: Layers in Large Language Models are More
// Redundant Than You Expect, arXiv 2403.03853.
type ShortGPT struct{}

// Name is "shortgpt".
func (ShortGPT) Name() string { return "shortgpt" }

// Needs is a calibration corpus.
func (ShortGPT) Needs() Needs { return Needs{Corpus: true} }

// Options lists none.
func (ShortGPT) Options() []string { return nil }

// Cost is one pass of the model.
func (ShortGPT) Cost(layers, _ int) (passes, heads int) { return layers, 0 }

// Effective is the same.
func (m ShortGPT) Effective() Method { return m }

// Check refuses targets that protected layers are in the way of.
func (ShortGPT) Check(s *State, target int) error { return checkDrops(s, target) }

// Step drops one layer.
func (ShortGPT) Step(ctx context.Context, s *State, _ int, progress func(done, total int)) (*Step, error) {
	return dropByOrder(ctx, s, func() ([]float64, []int, error) {
		if err := s.score(ctx); err != nil {
			return nil, nil, err
		}
		if err := s.Scorer.All(ctx, len(s.Model.Layers), progress); err != nil {
			return nil, nil, err
		}
		return s.Scorer.BI(), nil, nil
	})
}
