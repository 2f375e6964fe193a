package refit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/lsq"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/score"
)

const unionLambda = 0.1 // of the ridge by which neurons are chosen

// Union chooses, of the neurons of layers l and l+1 of m, as many as a layer has, for a layer that has layer l's attention and stands for both:
// those that a fit to the states held at a boundary can do without least. m is the scorer's model. It gives those of each of the two layers, and how
// long the choice took once the sums over the windows were there.
//
// Of the problem that Layer solves, with the neurons of both layers as its inputs, the neuron goes whose removal raises the loss least when all
// others are fitted again, up to 96 at a time: see lsq.Eliminate, which this does on the scorer's first device.
func Union(ctx context.Context, s *score.Scorer, m *model.Model, l, boundary int, o Options) (kept [2][]int, took time.Duration, err error) {
	c := m.Config
	if c.Sparse(l) || c.Sparse(l+1) {
		return kept, 0, fmt.Errorf("refit: layers %d and %d of %s have experts, whose neurons cannot be chosen from", l, l+1, m.Name)
	}
	a := m.Layers[l]
	reading, err := merge.Reading(c, m.Layers[l+1], a)
	if err != nil {
		return kept, 0, err
	}
	wide, err := merge.Union(a, reading)
	if err != nil {
		return kept, 0, err
	}
	config := *c
	config.IntermediateSize *= 2
	both := m.Replace(l, wide)
	both.Config = &config
	f := &fit{scorer: s, model: both, layer: wide, role: arch.Down, target: Target{l, boundary}, options: o.Defaults()}
	all, _, err := f.equations(ctx)
	if err != nil {
		return kept, 0, fmt.Errorf("refit: layers %d and %d of %s: %w", l, l+1, m.Name, err)
	}
	down, err := wide.Weights[arch.Down].Floats()
	if err != nil {
		return kept, 0, fmt.Errorf("refit: %w", err)
	}
	begin := time.Now()
	list, err := lsq.Eliminate(ctx, f.scorer.Recorders()[0].Device(), all, down, c.IntermediateSize, unionLambda)
	took = time.Since(begin)
	switch {
	case errors.Is(err, lsq.ErrLambda):
		err = model.Lasting(errors.New("the inputs of both layers have no inverse of their products: the calibration has too few tokens"))
	case errors.Is(err, lsq.ErrAlike):
		err = fmt.Errorf("neurons that are nearly the same: %w", err)
	}
	if err != nil {
		return kept, 0, fmt.Errorf("refit: layers %d and %d of %s: %w", l, l+1, m.Name, err)
	}
	for _, n := range list {
		kept[n/c.IntermediateSize] = append(kept[n/c.IntermediateSize], n%c.IntermediateSize)
	}
	return kept, took, nil
}
