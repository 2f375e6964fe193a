package method

import (
	"context"

	"github.com/vkcome/vkcome/model/train"
)

func init() {
	register(Entry{Name: "taylor", Short: "drop the layers whose weights the loss depends on least", Place: 100, New: func(Options) Method { return Taylor{} }})
	register(Entry{Name: "taylor+", Short: "taylor, with the first 4 and last 2 layers dropped last", Place: 110, New: func(Options) Method { return Taylor{Plus: true} }})
}

// Taylor drops the layers of the smallest Σ|w·∂loss/∂w| on the calibration corpus, scored once: see score.Scorer.Taylor. Plus drops the first 4
// and the last 2 layers after all others. Source: the block-wise criteria of Shortened LLaMA, arXiv 2402.02834.
type Taylor struct {
	Plus bool `json:"plus,omitempty"`
}

// Name is "taylor" or "taylor+".
func (t Taylor) Name() string {
	if t.Plus {
		return "taylor+"
	}
	return "taylor"
}

// Needs is a calibration corpus, and gradients of the loss on it.
func (Taylor) Needs() Needs { return Needs{Corpus: true, Gradients: true} }

// Options lists none.
func (Taylor) Options() []string { return nil }

// Cost is a run forward, and one back that takes three times as long: each layer is run again, and has two products for each of its own.
func (Taylor) Cost(layers, _ int) (passes, heads int) { return train.GradientPasses * layers, 2 }

// Effective is the same.
func (t Taylor) Effective() Method { return t }

// Check refuses models whose gradients are not computed, and targets that protected layers are in the way of.
func (Taylor) Check(s *State, target int) error {
	if err := s.Model.Config.CheckGradients(); err != nil {
		return err
	}
	return checkDrops(s, target)
}

// Step drops one layer.
func (t Taylor) Step(ctx context.Context, s *State, _ int, progress func(done, total int)) (*Step, error) {
	return dropByOrder(ctx, s, func() ([]float64, []int, error) {
		if err := s.score(ctx); err != nil { // a checkpoint keeps what the scorer knows
			return nil, nil, err
		}
		scores, err := s.Scorer.Taylor(ctx, s.Model, progress)
		if err != nil || !t.Plus {
			return scores, nil, err
		}
		return scores, outermost(len(scores)), nil
	})
}

// outermost are the first 4 and the last 2 of so many layers.
func outermost(layers int) (list []int) {
	for l := range layers {
		if l < 4 || l >= layers-2 {
			list = append(list, l)
		}
	}
	return list
}
