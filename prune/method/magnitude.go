package method

import (
	"context"

	"github.com/vkcome/vkcome/prune/score"
)

func init() {
	register(Entry{Name: "magnitude", Short: "drop the layers of the smallest weights", Place: 80, New: func(Options) Method { return Magnitude{} }})
	register(Entry{Name: "magnitude+", Short: "magnitude, with the first 4 and last 2 layers dropped last", Place: 90, New: func(Options) Method { return Magnitude{Plus: true} }})
}

// Magnitude drops the layers of the smallest Σ|w|, norms included and biases not, scored once. Plus drops the first 4 and the last 2
// layers after all others. Source: the block-wise criteria of Shortened LLaMA, arXiv 2402.02834.
type Magnitude struct {
	Plus bool `json:"plus,omitempty"`
}

// Name is "magnitude" or "magnitude+".
func (m Magnitude) Name() string {
	if m.Plus {
		return "magnitude+"
	}
	return "magnitude"
}

// Needs is nothing but the weights.
func (Magnitude) Needs() Needs { return Needs{} }

// Options lists none.
func (Magnitude) Options() []string { return nil }

// Cost is nothing.
func (Magnitude) Cost(_, _ int) (passes, heads int) { return 0, 0 }

// Effective is the same.
func (m Magnitude) Effective() Method { return m }

// Check refuses targets that protected layers are in the way of.
func (Magnitude) Check(s *State, target int) error { return checkDrops(s, target) }

// Step drops one layer.
func (m Magnitude) Step(ctx context.Context, s *State, _ int, progress func(done, total int)) (*Step, error) {
	return dropByOrder(ctx, s, func() ([]float64, []int, error) {
		var scores []float64
		layers := len(s.Model.Layers)
		for i, l := range s.Model.Layers {
			v, err := score.Magnitude(ctx, s.Device, l)
			if err != nil {
				return nil, nil, err
			}
			scores = append(scores, v)
			if progress != nil {
				progress(i+1, layers)
			}
		}
		if !m.Plus {
			return scores, nil, nil
		}
		return scores, outermost(layers), nil
	})
}
