package refit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/score"
)

const (
	unionLambda = 0.1 // of the ridge by which neurons are chosen
	unionBlock  = 96  // neurons that go at a time, at most
)

// Union chooses, of the neurons of layers l and l+1 of m, as many as a layer has, for a layer that has layer l's attention and stands for both:
// those that a fit to the states held at a boundary can do without least. m is the scorer's model. It gives those of each of the two layers.
//
// Of the problem that Layer solves, with the neurons of both layers as its inputs, the neuron goes whose removal raises the loss least when all
// others are fitted again: W_i²/H_ii of the solution W, over the outputs, and the inverse H of Σ w a aᵀ + λmI, which each removal updates. Up
// to 96 go at a time. Source: Hassibi & Stork 1993, Optimal Brain Surgeon.
func Union(ctx context.Context, s *score.Scorer, m *model.Model, l, boundary int, o Options) (kept [2][]int, err error) {
	c := m.Config
	if c.Sparse(l) || c.Sparse(l+1) {
		return kept, fmt.Errorf("refit: layers %d and %d of %s have experts, whose neurons cannot be chosen from", l, l+1, m.Name)
	}
	a := m.Layers[l]
	reading, err := merge.Reading(c, m.Layers[l+1], a)
	if err != nil {
		return kept, err
	}
	wide, err := merge.Union(a, reading)
	if err != nil {
		return kept, err
	}
	config := *c
	config.IntermediateSize *= 2
	both := m.Replace(l, wide)
	both.Config = &config
	f := &fit{scorer: s, model: both, layer: wide, role: arch.Down, target: Target{l, boundary}, options: o.Defaults()}
	all, _, err := f.equations(ctx)
	if err != nil {
		return kept, fmt.Errorf("refit: layers %d and %d of %s: %w", l, l+1, m.Name, err)
	}
	down, err := weightsOf(wide.Weights[arch.Down])
	if err != nil {
		return kept, err
	}
	gram, cross := all.Dense()
	list, err := surgeon(gram, cross, down, c.IntermediateSize, unionLambda)
	if err != nil {
		return kept, fmt.Errorf("refit: layers %d and %d of %s: %w", l, l+1, m.Name, err)
	}
	for _, n := range list {
		kept[n/c.IntermediateSize] = append(kept[n/c.IntermediateSize], n%c.IntermediateSize)
	}
	return kept, nil
}

// weightsOf is a weight in float64.
func weightsOf(w model.Weight) (*mat.Dense, error) {
	list, err := w.Floats()
	if err != nil {
		return nil, fmt.Errorf("refit: %w", err)
	}
	out := mat.NewDense(w.Rows, w.Cols, nil)
	for i, v := range list {
		out.Set(i/w.Cols, i%w.Cols, float64(v))
	}
	return out, nil
}

// surgeon lists the keep inputs that stay, ascending, of a regression whose solution is a correction of w [out, in]. An input beyond w's, the
// bias', stays as well and is not listed.
func surgeon(gram *mat.SymDense, cross, w *mat.Dense, keep int, lambda float64) ([]int, error) {
	return surgeonBy(unionBlock, gram, cross, w, keep, lambda)
}

// surgeonBy takes out so many at a time, at most.
func surgeonBy(block int, gram *mat.SymDense, cross, w *mat.Dense, keep int, lambda float64) ([]int, error) {
	n, in := gram.SymmetricDim(), w.RawMatrix().Cols
	mean := 0.0
	for i := range in {
		mean += gram.At(i, i) / float64(in)
	}
	for i := range n {
		gram.SetSym(i, i, gram.At(i, i)+lambda*mean)
	}
	var factor mat.Cholesky
	var symmetric mat.SymDense
	if !factor.Factorize(gram) {
		return nil, model.Lasting(errors.New("the inputs of both layers have no inverse of their products: the calibration has too few tokens"))
	}
	if err := factor.InverseTo(&symmetric); err != nil {
		return nil, fmt.Errorf("the inputs of both layers: %w", err)
	}
	inverse := mat.DenseCopyOf(&symmetric)
	var solution mat.Dense // [out, n]
	solution.Mul(cross, inverse)
	for o := range w.RawMatrix().Rows {
		for i := range in {
			solution.Set(o, i, solution.At(o, i)+w.At(o, i))
		}
	}
	left := make([]int, n)
	for i := range left {
		left[i] = i
	}
	for len(left)-(n-in) > keep {
		going := least(&solution, inverse, left, in, min(block, len(left)-(n-in)-keep))
		var err error
		if inverse, err = eliminate(&solution, inverse, going); err != nil {
			return nil, err
		}
		left = without(left, going)
	}
	return left[:keep], nil
}

// least are the places of the count inputs, of those that are left, that cost least.
func least(solution, inverse *mat.Dense, left []int, in, count int) []int {
	costs := make([]float64, len(left))
	rows, _ := solution.Dims()
	for o := range rows {
		for i, v := range solution.RawRowView(o) {
			costs[i] += v * v
		}
	}
	var order []int
	for i := range left {
		if costs[i] /= inverse.At(i, i); left[i] < in {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(costs[a], costs[b]) })
	order = order[:count]
	slices.Sort(order)
	return order
}

// eliminate takes inputs out of a solution, to which all others are fitted again, and gives the inverse of the products of these.
func eliminate(solution, inverse *mat.Dense, going []int) (*mat.Dense, error) {
	n, _ := inverse.Dims()
	rows, _ := solution.Dims()
	var stay []int
	for i := range n {
		if _, is := slices.BinarySearch(going, i); !is {
			stay = append(stay, i)
		}
	}
	pick := func(m *mat.Dense, rows, cols []int) *mat.Dense {
		out := mat.NewDense(len(rows), len(cols), nil)
		for i, r := range rows {
			from, to := m.RawRowView(r), out.RawRowView(i)
			for j, c := range cols {
				to[j] = from[c]
			}
		}
		return out
	}
	outputs := make([]int, rows)
	for i := range outputs {
		outputs[i] = i
	}
	corner, side := pick(inverse, going, going), pick(inverse, going, stay)
	var by, change mat.Dense
	if err := by.Solve(corner, side); err != nil {
		return nil, fmt.Errorf("neurons that are nearly the same: %w", err)
	}
	gone := pick(solution, outputs, going)
	kept := pick(solution, outputs, stay)
	change.Mul(gone, &by)
	kept.Sub(kept, &change)
	solution.CloneFrom(kept)
	smaller := pick(inverse, stay, stay)
	var less mat.Dense
	less.Mul(side.T(), &by)
	smaller.Sub(smaller, &less)
	return smaller, nil
}

// without is a list without the elements at some places, which ascend.
func without(list, places []int) (out []int) {
	for i, v := range list {
		if _, is := slices.BinarySearch(places, i); !is {
			out = append(out, v)
		}
	}
	return out
}
