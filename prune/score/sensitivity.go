package score

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
)

// A Sensitivity is a measure of how much a channel matters, of its values x over all tokens and the column of W that reads it: o_proj's
// for a channel of the attention output, down_proj's for a neuron.
//
// Where what attention or the MLP gives is normed or scaled before it is added (Gemma 2, OLMo 2, GLM-4, Granite), this is what a channel does
// before that: the norm's weights and the factor are those of all channels of a layer alike, and the formula compares these with one another.
type Sensitivity int

// The measures.
const (
	L1       Sensitivity = iota // mean|x| · Σ|W|; of an expert its load, the mean over all tokens of the share that the router gives it, 0 where it is not chosen
	L2                          // √mean x² · √ΣW²
	Activity                    // mean|x|
	Weight                      // Σ|W|
)

// Sensitivity is how much layer l's units matter: each KV head as the mean over the channels of its query heads, and each FFN neuron, or
// expert, for which W counts as 1 and which Weight does not rank. The layer must have run for all tokens.
func (s *Scorer) Sensitivity(ctx context.Context, l int, of Sensitivity) (heads, neurons []float64, err error) {
	if s.m == nil || len(s.seen) != len(s.m.Layers) {
		return nil, nil, errNoUpdate
	}
	c, layer, seen := s.m.Config, s.m.Layers[l], s.seen[l]
	if slices.Contains(seen.ran, false) {
		return nil, nil, fmt.Errorf("score: layer %d did not run for all tokens", l)
	}
	width, sparse := c.Heads/c.KVHeads*c.HeadDim, c.Sparse(l)
	if sparse && of == Weight {
		return nil, nil, fmt.Errorf("score: layer %d has experts, which are ranked by what the router gives them, not by weights", l)
	}
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
		columns = columnSums{ones(c.Heads * c.HeadDim), ones(c.Units(l))}
	}
	if sparse {
		columns[1] = ones(c.Units(l))
	}
	if heads, err = s.rank(ctx, seen.heads, columns[0], width); err == nil {
		neurons, err = s.rank(ctx, s.firstOf(seen.neurons, c.Units(l)), columns[1], 1)
	}
	return heads, neurons, err
}

// firstOf is the first units of every window's.
func (s *Scorer) firstOf(all []byte, units int) (first []byte) {
	share := len(all) / len(s.windows)
	for w := range s.windows {
		first = append(first, all[w*share:w*share+4*units]...)
	}
	return first
}

// squares runs layer l again, for the sums of squares.
func (s *Scorer) squares(ctx context.Context, l, width int) (heads, neurons []float64, err error) {
	c, window := s.m.Config, len(s.windows[0])
	channels := [2]int{c.Heads * c.HeadDim, c.Units(l)}
	var sums [2][]byte // [windows, channels]
	for i, n := range channels {
		sums[i] = make([]byte, 4*len(s.windows)*n)
	}
	if err := s.states(ctx, l, nil); err != nil {
		return nil, nil, err
	}
	err = s.each(ctx, func(ctx context.Context, p *part) error {
		return p.f.Layer(ctx, s.m, l, func(step run.Step) error {
			for i, x := range []op.Tensor{step.Attention, step.MLP} {
				raw, err := p.squareSums(ctx, x, window)
				if err != nil {
					return err
				}
				copy(sums[i][4*(p.begin+step.Batch.Begin)*channels[i]:], raw)
			}
			return nil
		})
	})
	if err != nil {
		return nil, nil, err
	}
	var totals [2][]float64
	for i, n := range channels {
		totals[i] = make([]float64, n)
		for k, v := range decode(sums[i]) { // window by window, in the corpus's order
			totals[i][k%n] += v
		}
	}
	p, roles := s.parts[0], []arch.Role{arch.O, arch.Down}
	if c.Sparse(l) {
		roles = roles[:1]
		for e, v := range totals[1] {
			totals[1][e] = math.Sqrt(v / float64(len(s.windows)*window))
		}
	}
	err = p.f.Weights(ctx, s.m.Layers[l], roles, func(w []op.Tensor) error {
		for i := range w {
			raw, err := p.squareSums(ctx, w[i], w[i].Rows)
			if err != nil {
				return err
			}
			for ch, v := range decode(raw) {
				totals[i][ch] = math.Sqrt(totals[i][ch]/float64(len(s.windows)*window)) * math.Sqrt(v)
			}
		}
		return nil
	})
	return means(totals[0], width), totals[1], err
}

// squareSums is Σx² over each window of rows of x: [windows, cols] f32.
func (p *part) squareSums(ctx context.Context, x op.Tensor, window int) (raw []byte, err error) {
	err = p.with(ctx, [][]byte{make([]byte, 4*x.Rows/window*x.Cols)}, []int{x.Cols}, func(t []op.Tensor) error {
		op.SquareSum(p.f.Recorder(), t[0], x, window)
		raw, err = p.read(ctx, t[0])
		return err
	})
	return raw, err
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
