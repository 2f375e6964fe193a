package method

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model"
)

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

// check refuses an order that is not one of all layers, of which so many are left.
func (o *order) check(layers int) error {
	all := len(o.Scores)
	sorted := slices.Sorted(slices.Values(o.Order))
	for i, l := range sorted {
		if l != i || len(sorted) != all {
			return fmt.Errorf("the checkpoint takes %d layers out in the order %v, expected each once", all, o.Order)
		}
	}
	for i, l := range o.Left {
		if len(o.Left) != layers || l < 0 || l >= all || i > 0 && l <= o.Left[i-1] {
			return fmt.Errorf("the checkpoint says that layers %v of %d are left, the model has %d", o.Left, all, layers)
		}
	}
	return nil
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
	if err := o.check(len(s.Model.Layers)); err != nil {
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
	return nil, model.Lasting(fmt.Errorf("all of the %d layers that are left are protected", len(s.Model.Layers)))
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
		return fmt.Errorf("%d target layers: %d layers are protected; protect fewer (prune.Options.Protect)", target, n)
	}
	return nil
}
