package method

import (
	"context"
	"fmt"

	"github.com/vkcome/vkcome/model"
)

func init() {
	register(Entry{Name: "reverse", Short: "drop layers from the last one down", Place: 120, New: func(Options) Method { return Reverse{} }})
}

// Reverse drops layers from the last one down. Source: the baseline of arXiv 2403.03853 and arXiv 2510.15304.
type Reverse struct{}

// Name is "reverse".
func (Reverse) Name() string { return "reverse" }

// Needs is nothing but the weights.
func (Reverse) Needs() Needs { return Needs{} }

// Options lists none.
func (Reverse) Options() []string { return nil }

// Cost is nothing.
func (Reverse) Cost(_, _ int) (passes, heads int) { return 0, 0 }

// Effective is the same.
func (m Reverse) Effective() Method { return m }

// Check refuses targets that protected layers are in the way of.
func (Reverse) Check(s *State, target int) error { return checkDrops(s, target) }

// Step drops one layer.
func (Reverse) Step(ctx context.Context, s *State, _ int, _ func(done, total int)) (*Step, error) {
	for l := len(s.Model.Layers) - 1; l >= 0; l-- {
		if !s.protects(l, l+1) {
			step := &Step{From: len(s.Model.Layers), Operation: Removal, DropList: []int{l}}
			return step, s.Apply(ctx, step)
		}
	}
	return nil, model.Lasting(fmt.Errorf("all of the %d layers that are left are protected", len(s.Model.Layers)))
}
