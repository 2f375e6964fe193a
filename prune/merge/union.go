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
		scaled, values, row := empty(w), make([]float32, w.Cols), w.Cols*w.DType.Size()
		shift := make([]float32, w.Rows) // what the norms' biases make of each row
		room, now := make([]byte, row), make([]float32, w.Cols)
		var before, after []float32
		if b := l.Weights[norm+1]; !b.IsZero() {
			before, after = decoded(b), decoded(other.Weights[norm+1])
		}
		for r := range w.Rows {
			w.DType.Decode(values, w.ReadRows(room, r, r+1))
			for i, v := range values {
				now[i] = v * factor[i]
			}
			to := scaled.Data[r*row : (r+1)*row]
			w.DType.Encode(to, now)
			w.DType.Decode(now, to)
			for i := range before {
				shift[r] += values[i]*before[i] - now[i]*after[i]
			}
		}
		w.Release()
		weights[role] = scaled
		if b := weights[role+1]; !b.IsZero() && before != nil {
			sum := decoded(b)
			for r := range sum {
				sum[r] += shift[r]
			}
			weights[role+1] = empty(b)
			b.DType.Encode(weights[role+1].Data, sum)
		}
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

func empty(w model.Weight) model.Weight {
	return model.Weight{Name: w.Name, DType: w.DType, Rows: w.Rows, Cols: w.Cols, Data: make([]byte, w.Size())}
}

func decoded(w model.Weight) []float32 {
	values := make([]float32, w.Elements())
	w.DType.Decode(values, w.ReadRows(make([]byte, w.Size()), 0, w.Rows))
	return values
}

// normWeights are what a norm multiplies by.
func normWeights(c *arch.Config, w model.Weight) []float32 {
	values := decoded(w)
	for i := range values {
		if c.NormPlusOne {
			values[i]++
		}
	}
	return values
}
