package merge

import (
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
)

// mostRescale bounds by how much a column is multiplied that is to read another norm: one with a weight near zero would lose all others.
const mostRescale = 1024

// Reading is what layer l's MLP is when it reads the norm of another: the columns of its matrices are multiplied by the quotient of the two
// norms' weights, and its biases make up for the norms' biases where it has some. Where models have no such norm, nothing changes. Only Gate,
// Up, Down and their biases are of use in what it gives.
func Reading(c *arch.Config, l, other *model.Layer) *model.Layer {
	norm := arch.PostNorm
	if c.Parallel {
		norm = arch.InputNorm
	}
	if l.Weights[norm].IsZero() {
		return l
	}
	own, others := normWeights(c, l.Weights[norm]), normWeights(c, other.Weights[norm])
	factor := make([]float32, len(own))
	for i := range own {
		if factor[i] = own[i] / others[i]; !(factor[i] >= -mostRescale && factor[i] <= mostRescale) {
			factor[i] = 0
		}
	}
	weights := slices.Clone(l.Weights[:])
	for _, role := range []arch.Role{arch.Gate, arch.Up} {
		w := weights[role]
		if w.IsZero() {
			continue
		}
		scaled := w.Map(func(_ int, values []float32) {
			for i := range values {
				values[i] *= factor[i]
			}
		})
		weights[role] = scaled
		bias, shift := weights[role+1], l.Weights[norm+1]
		if bias.IsZero() || shift.IsZero() {
			continue
		}
		before, after := product(w, shift.Floats()), product(scaled, other.Weights[norm+1].Floats())
		weights[role+1] = bias.Map(func(_ int, values []float32) {
			for r := range values {
				values[r] += before[r] - after[r]
			}
		})
	}
	return model.NewLayer(weights)
}

// Union is layer a with the neurons of b, as Reading gives it, behind its own.
func Union(a, b *model.Layer) (*model.Layer, error) {
	weights := slices.Clone(a.Weights[:])
	for _, role := range []arch.Role{arch.Gate, arch.Up, arch.GateBias, arch.UpBias} {
		x, y := a.Weights[role], b.Weights[role]
		if x.IsZero() != y.IsZero() || x.DType != y.DType {
			return nil, fmt.Errorf("merge: %s is there, or of a dtype, in one of two layers", x.Name)
		}
		if x.IsZero() {
			continue
		}
		if role.Info().Vector() {
			weights[role] = beside(x, y)
			continue
		}
		both, err := model.Stack(x, y)
		if err != nil {
			return nil, err
		}
		weights[role] = both
	}
	weights[arch.Down] = beside(a.Weights[arch.Down], b.Weights[arch.Down])
	return model.NewLayer(weights), nil
}

// beside is the columns of x and y.
func beside(x, y model.Weight) model.Weight {
	both := model.Weight{Name: x.Name, DType: x.DType, Rows: x.Rows, Cols: x.Cols + y.Cols}
	first, second := make([]byte, x.Cols*x.DType.Size()), make([]byte, y.Cols*y.DType.Size())
	for r := range x.Rows {
		both.Data = append(append(both.Data, x.ReadRows(first, r, r+1)...), y.ReadRows(second, r, r+1)...)
	}
	x.Release()
	y.Release()
	return both
}

// product is w·x.
func product(w model.Weight, x []float32) []float32 {
	y := make([]float32, w.Rows)
	for i, v := range w.Floats() {
		y[i/w.Cols] += v * x[i%w.Cols]
	}
	return y
}

// normWeights are what a norm multiplies by.
func normWeights(c *arch.Config, w model.Weight) []float32 {
	values := w.Floats()
	for i := range values {
		if c.NormPlusOne {
			values[i]++
		}
	}
	return values
}
