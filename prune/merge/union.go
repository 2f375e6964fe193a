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
func Reading(c *arch.Config, l, other *model.Layer) (*model.Layer, error) {
	norm := arch.PostNorm
	if c.Parallel {
		norm = arch.InputNorm
	}
	if l.Weights[norm].IsZero() {
		return l, nil
	}
	own, err := normWeights(c, l.Weights[norm])
	if err != nil {
		return nil, err
	}
	others, err := normWeights(c, other.Weights[norm])
	if err != nil {
		return nil, err
	}
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
		scaled, err := w.Map(func(_ int, values []float32) {
			for i := range values {
				values[i] *= factor[i]
			}
		})
		if err != nil {
			return nil, fmt.Errorf("merge: %w", err)
		}
		weights[role] = scaled
		bias, shift := weights[role+1], l.Weights[norm+1]
		if bias.IsZero() || shift.IsZero() {
			continue
		}
		before, err := product(w, shift)
		if err != nil {
			return nil, err
		}
		after, err := product(scaled, other.Weights[norm+1])
		if err != nil {
			return nil, err
		}
		weights[role+1], err = bias.Map(func(_ int, values []float32) {
			for r := range values {
				values[r] += before[r] - after[r]
			}
		})
		if err != nil {
			return nil, fmt.Errorf("merge: %w", err)
		}
	}
	return model.NewLayer(weights), nil
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
		join := beside
		if !role.Info().Vector() {
			join = func(x, y model.Weight) (model.Weight, error) { return model.Stack(x, y) }
		}
		both, err := join(x, y)
		if err != nil {
			return nil, err
		}
		weights[role] = both
	}
	down, err := beside(a.Weights[arch.Down], b.Weights[arch.Down])
	if err != nil {
		return nil, err
	}
	weights[arch.Down] = down
	return model.NewLayer(weights), nil
}

// beside is the columns of x and y.
func beside(x, y model.Weight) (model.Weight, error) {
	both := model.Weight{Name: x.Name, DType: x.DType, Rows: x.Rows, Cols: x.Cols + y.Cols}
	first, second := make([]byte, x.Cols*x.DType.Size()), make([]byte, y.Cols*y.DType.Size())
	for r := range x.Rows {
		for _, part := range []struct {
			of   model.Weight
			room []byte
		}{{x, first}, {y, second}} {
			row, err := part.of.ReadRows(part.room, r, r+1)
			if err != nil {
				return both, fmt.Errorf("merge: %w", err)
			}
			both.Data = append(both.Data, row...)
		}
	}
	return both, nil
}

// product is w·x of a vector x.
func product(w, x model.Weight) ([]float32, error) {
	list, err := w.Floats()
	if err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	by, err := x.Floats()
	if err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	y := make([]float32, w.Rows)
	for i, v := range list {
		y[i/w.Cols] += v * by[i%w.Cols]
	}
	return y, nil
}

// normWeights are what a norm multiplies by.
func normWeights(c *arch.Config, w model.Weight) ([]float32, error) {
	values, err := w.Floats()
	if err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	for i := range values {
		if c.NormPlusOne {
			values[i]++
		}
	}
	return values, nil
}
