package method

import (
	"context"
)

func init() {
	register(Entry{Name: "weightsum", Short: "come's layers and ratios, with parameters summed instead of concatenated", Place: 30, New: func(o Options) Method { return WeightSum{o.CoMe} }})
}

// WeightSum merges the layers that CoMe would, in CoMe's ratios, by summing their parameters instead of concatenating units: what the
// paper sets concatenation against. Source: WeightSum-based merge of arXiv 2510.15304.
type WeightSum struct{ CoMe }

// Name is "weightsum".
func (w WeightSum) Name() string { return "weightsum" }

// Options lists those that have a meaning for weightsum.
func (WeightSum) Options() []string {
	return []string{"method.CoMe.LayersPerMerge", "method.CoMe.Repeat", "method.CoMe.RatioPower", "method.CoMe.RatioFloor", "method.CoMe.Selector"}
}

// Effective is the method with every default spelled out, as a lineage records it.
func (w WeightSum) Effective() Method { return WeightSum{w.Defaults()} }

// Check refuses options out of range and targets that cannot be reached, and models with experts.
func (w WeightSum) Check(s *State, target int) error {
	if err := s.sums(w.Name()); err != nil {
		return err
	}
	return w.CoMe.Check(s, target)
}

// Step merges once, going no deeper than target layers.
func (w WeightSum) Step(ctx context.Context, s *State, target int, progress func(done, total int)) (*Step, error) {
	c := w.Defaults()
	step, err := c.choose(ctx, s, target, lastTokens, progress)
	if err != nil {
		return nil, err
	}
	c.ratio(s, step)
	step.Operation = Sum
	return step, s.Apply(ctx, step)
}
