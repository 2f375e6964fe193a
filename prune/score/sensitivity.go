package score

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
)

// A Sensitivity is a measure of how much a channel matters, of its values x over all tokens and the column of W that reads it: o_proj's
// for a channel of the attention output, down_proj's for a neuron.
type Sensitivity int

// The measures.
const (
	L1       Sensitivity = iota // mean|x| · Σ|W|
	L2                          // √mean x² · √ΣW²
	Activity                    // mean|x|
	Weight                      // Σ|W|
)

// Sensitivity is how much layer l's units matter: each KV head as the mean over the channels of its query heads, and each FFN neuron. The
// layer must have run for all tokens.
func (s *Scorer) Sensitivity(ctx context.Context, l int, of Sensitivity) (heads, neurons []float64, err error) {
	if s.m == nil || len(s.seen) != len(s.m.Layers) {
		return nil, nil, errNoUpdate
	}
	c, layer, seen := s.m.Config, s.m.Layers[l], s.seen[l]
	if slices.Contains(seen.ran, false) {
		return nil, nil, fmt.Errorf("score: layer %d did not run for all tokens", l)
	}
	width := c.Heads / c.KVHeads * c.HeadDim
	if of == L2 {
		return s.squares(ctx, l, width)
	}
	columns, ok := s.columns[layer]
	if !ok {
		if columns, err = s.columnSums(ctx, layer); err != nil {
			return nil, nil, err
		}
		s.columns[layer] = columns
	}
	switch of {
	case Weight:
		return means(decode(columns[0]), width), decode(columns[1]), nil
	case Activity:
		columns = columnSums{ones(c.Heads * c.HeadDim), ones(c.IntermediateSize)}
	}
	if heads, err = s.rank(ctx, seen.heads, columns[0], width); err == nil {
		neurons, err = s.rank(ctx, seen.neurons, columns[1], 1)
	}
	return heads, neurons, err
}

// squares runs layer l again, for the sums of squares.
func (s *Scorer) squares(ctx context.Context, l, width int) (heads, neurons []float64, err error) {
	c, r := s.m.Config, s.f.Recorder()
	totals := [2][]float64{make([]float64, c.Heads*c.HeadDim), make([]float64, c.IntermediateSize)}
	sums := func(x op.Tensor, total []float64) error {
		return s.with(ctx, [][]byte{nil}, []int{x.Cols}, func(t []op.Tensor) error {
			op.SquareSum(r, t[0], x, x.Rows)
			raw, err := s.read(ctx, t[0])
			for i, v := range decode(raw) {
				total[i] += v
			}
			return err
		})
	}
	err = s.f.Layer(ctx, s.m, l, func(step model.Step) error {
		return errors.Join(sums(step.Attention, totals[0]), sums(step.MLP, totals[1]))
	})
	if err != nil {
		return nil, nil, err
	}
	tokens := float64(len(s.f.Windows()) * s.f.Window())
	err = s.f.Weights(ctx, s.m.Layers[l], []model.Part{model.O, model.Down}, func(w []op.Tensor) error {
		for i := range w {
			weights := make([]float64, w[i].Cols)
			if err := sums(w[i], weights); err != nil {
				return err
			}
			for ch, v := range weights {
				totals[i][ch] = math.Sqrt(totals[i][ch]/tokens) * math.Sqrt(v)
			}
		}
		return nil
	})
	return means(totals[0], width), totals[1], err
}

// means cuts values into runs of n and gives the mean of each.
func means(values []float64, n int) []float64 {
	out := make([]float64, len(values)/n)
	for i, v := range values {
		out[i/n] += v / float64(n)
	}
	return out
}

// ones is n times 1 in f32.
func ones(n int) []byte {
	values := make([]float32, n)
	for i := range values {
		values[i] = 1
	}
	raw := make([]byte, 4*n)
	dtype.F32.Encode(raw, values)
	return raw
}
