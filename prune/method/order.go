package method

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune/score"
)

// Candidate is a model to try.
type Candidate = model.Candidate

// smallest is the index of the smallest value that is a number and, unless eligible is nil, eligible: the first of equals, −1 if there
// is none.
func smallest(values []float64, eligible []bool) int {
	best := -1
	for i, v := range values {
		if (eligible == nil || eligible[i]) && !math.IsNaN(v) && (best < 0 || v < values[best]) {
			best = i
		}
	}
	return best
}

// spread puts values where eligible says, in order, and NaN elsewhere.
func spread(values []float64, eligible []bool) []float64 {
	out := make([]float64, len(eligible))
	for i, ok := range eligible {
		out[i] = math.NaN()
		if ok {
			out[i], values = values[0], values[1:]
		}
	}
	return out
}

// order is what methods remember that score the layers once and take them out in the order of the scores.
type order struct {
	Scores Scores `json:"scores"` // of every layer at the start
	Order  []int  `json:"order"`  // of removal, by number at the start
	Left   []int  `json:"left"`   // the layers that are left
}

// dropByOrder takes out one layer: the next that is not protected in the order that rank gave when it was asked first. rank gives a score
// for every layer and those that go last whatever theirs is.
func dropByOrder(ctx context.Context, s *State, rank func() (scores []float64, late []int, err error)) (*Step, error) {
	var o order
	if s.Memo == nil {
		scores, late, err := rank()
		if err != nil {
			return nil, err
		}
		o.Scores = scores
		for l := range s.Model.Layers {
			o.Left = append(o.Left, l)
			if !slices.Contains(late, l) {
				o.Order = append(o.Order, l)
			}
		}
		slices.SortStableFunc(o.Order, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
		o.Order = append(o.Order, late...)
	} else if err := json.Unmarshal(s.Memo, &o); err != nil {
		return nil, err
	}
	for _, l := range o.Order {
		at := slices.Index(o.Left, l)
		if at < 0 || s.protects(at, at+1) {
			continue
		}
		step := &Step{From: len(s.Model.Layers), Operation: Removal, DropList: []int{at}}
		for _, l := range o.Left {
			step.Scores = append(step.Scores, o.Scores[l])
		}
		o.Left = slices.Delete(o.Left, at, at+1)
		var err error
		if s.Memo, err = json.Marshal(o); err != nil {
			return nil, err
		}
		return step, s.Apply(ctx, step)
	}
	return nil, fmt.Errorf("all of the %d layers that are left are protected", len(s.Model.Layers))
}

// checkDrops refuses targets below what protected layers leave.
func checkDrops(s *State, target int) error {
	n := 0
	for _, p := range s.Protected {
		if p {
			n++
		}
	}
	if target < n {
		return fmt.Errorf("%d target layers: %d layers are protected; protect fewer (--protect)", target, n)
	}
	return nil
}

// ShortGPT drops the layers of the smallest block influence, scored once. Source: ShortGPT: Layers in Large Language Models are More
// Redundant Than You Expect, arXiv 2403.03853.
type ShortGPT struct{}

// Name is "shortgpt".
func (ShortGPT) Name() string { return "shortgpt" }

// Cost is one pass of the model.
func (ShortGPT) Cost(layers, _ int) (passes, heads int) { return layers, 0 }

// Effective is the same.
func (m ShortGPT) Effective() Method { return m }

// Corpus is true.
func (ShortGPT) Corpus() bool { return true }

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

// Cost is nothing.
func (Magnitude) Cost(_, _ int) (passes, heads int) { return 0, 0 }

// Effective is the same.
func (m Magnitude) Effective() Method { return m }

// Corpus is false.
func (Magnitude) Corpus() bool { return false }

// Check refuses targets that protected layers are in the way of.
func (Magnitude) Check(s *State, target int) error { return checkDrops(s, target) }

// Step drops one layer.
func (m Magnitude) Step(ctx context.Context, s *State, _ int, progress func(done, total int)) (*Step, error) {
	return dropByOrder(ctx, s, func() ([]float64, []int, error) {
		var scores []float64
		var late []int
		layers := len(s.Model.Layers)
		for i, l := range s.Model.Layers {
			v, err := score.Magnitude(ctx, s.Device, l)
			if err != nil {
				return nil, nil, err
			}
			scores = append(scores, v)
			if m.Plus && (i < 4 || i >= layers-2) {
				late = append(late, i)
			}
			if progress != nil {
				progress(i+1, layers)
			}
		}
		return scores, late, nil
	})
}

// Reverse drops layers from the last one down. Source: the baseline of arXiv 2403.03853 and arXiv 2510.15304.
type Reverse struct{}

// Name is "reverse".
func (Reverse) Name() string { return "reverse" }

// Cost is nothing.
func (Reverse) Cost(_, _ int) (passes, heads int) { return 0, 0 }

// Effective is the same.
func (m Reverse) Effective() Method { return m }

// Corpus is false.
func (Reverse) Corpus() bool { return false }

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
	return nil, fmt.Errorf("all of the %d layers that are left are protected", len(s.Model.Layers))
}

// Drop drops the layers of a list, all at once. Numbers are those of the opened model, the last layer being −1 as well.
type Drop struct {
	Layers []int `json:"layers"`
}

// Name is "drop".
func (Drop) Name() string { return "drop" }

// Cost is nothing.
func (Drop) Cost(_, _ int) (passes, heads int) { return 0, 0 }

// Effective is the same.
func (m Drop) Effective() Method { return m }

// Corpus is false.
func (Drop) Corpus() bool { return false }

// Check refuses lists that do not lead to the target, or name layers that are not there, twice or protected.
func (d Drop) Check(s *State, target int) error {
	list, err := Numbers(d.Layers, len(s.Tree))
	if err != nil {
		return err
	}
	for _, l := range list {
		if s.protects(l, l+1) {
			return fmt.Errorf("layer %d is to be dropped and protected", l)
		}
	}
	switch left := len(s.Tree) - len(list); {
	case len(list) == 0:
		return fmt.Errorf("the list of layers to drop is empty (--layers 20,21)")
	case left == 0:
		return fmt.Errorf("all %d layers are to be dropped", len(s.Tree))
	case left != target:
		return fmt.Errorf("%d target layers: dropping layers %v leaves %d", target, list, left)
	}
	return nil
}

// Step drops all of the list.
func (d Drop) Step(ctx context.Context, s *State, _ int, _ func(done, total int)) (*Step, error) {
	list, err := Numbers(d.Layers, len(s.Model.Layers))
	if err != nil {
		return nil, err
	}
	step := &Step{From: len(s.Model.Layers), Operation: Removal, DropList: list}
	return step, s.Apply(ctx, step)
}

// Numbers sorts the numbers of layers, of which negative ones count from the end. One that is not there or given twice is an error.
func Numbers(list []int, layers int) ([]int, error) {
	var out []int
	for _, l := range list {
		at := l
		if l < 0 {
			at += layers
		}
		if at < 0 || at >= layers {
			return nil, fmt.Errorf("layer %d, the model has %d (expected %d to %d)", l, layers, -layers, layers-1)
		}
		if slices.Contains(out, at) {
			return nil, fmt.Errorf("layer %d is given twice", l)
		}
		out = append(out, at)
	}
	slices.Sort(out)
	return out, nil
}
