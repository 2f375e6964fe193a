package method

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

func init() {
	register(Entry{Name: "drop", Short: "drop the layers of a list", Place: 130, New: func(o Options) Method { return Drop{o.Layers} }})
}

// Drop drops the layers of a list, all at once. Numbers are those of the opened model, the last layer being −1 as well.
type Drop struct {
	Layers []int `json:"layers"`
}

// Name is "drop".
func (Drop) Name() string { return "drop" }

// Needs is a list of layers and no other target.
func (d Drop) Needs() Needs {
	return Needs{Target: func(layers int) int { return layers - len(d.Layers) }}
}

// Options lists those that have a meaning for drop.
func (Drop) Options() []string { return []string{"method.Drop.Layers"} }

// Cost is nothing.
func (Drop) Cost(_, _ int) (passes, heads int) { return 0, 0 }

// Effective is the same.
func (m Drop) Effective() Method { return m }

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
		return errors.New("the list of layers to drop is empty (method.Drop.Layers 20,21)")
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
