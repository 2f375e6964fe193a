package op

import (
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// blockinfluenceBound is of blockinfluence.
var blockinfluenceBound = optest.Bound{Max: 3e-6, Why: "twice the relative error of the difference of two f32 directions, for angles from 0.003 on"}

// angulardistanceBound is of angulardistance.
var angulardistanceBound = optest.Bound{Max: 2e-6, Why: "half of blockinfluence's, a polynomial of 2e-7 and sqrt"}

// turned is x with every row moved by some noise of this size and then scaled, so that 1 − cos is about noise²/2.
func turned(x ref.Mat, noise float64) ref.Mat {
	y, z := ref.NewMat(x.Rows, x.Cols), random(x.Rows+1, x.Cols)
	for i, v := range x.Data {
		y.Data[i] = (v + noise*z.Data[i]) * 3.7
	}
	return y
}

// angleTable is of an operation on pairs of rows.
func angleTable(op string, bound optest.Bound, record func(r *vk.Recorder, out, x, y Tensor), want func(x, y ref.Mat) []float64) optest.Table {
	of := func(name string, x, y ref.Mat) optest.Case {
		return optest.Case{
			Name: name, In: f32s(x, y), Out: likes(ref.NewMat(1, x.Rows)),
			Record: func(r *vk.Recorder, out, in []optest.Tensor) { record(r, Tensor(out[0]), Tensor(in[0]), Tensor(in[1])) },
			Want:   func(in []ref.Mat) []ref.Mat { return one(vector(want(in[0], in[1])...)) },
			Flops:  7 * float64(x.Rows*x.Cols),
		}
	}
	return optest.Table{Op: op, Bound: bound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, hidden int
			noise        float64 // infinite: unrelated rows, half of them more than orthogonal
		}{{9, 1, math.Inf(1)}, {1, 4096, 1}, {7, 120, 0.01}, {3, 4097, 1e-3}, {2, 255, 3e-3}, {200, 20, math.Inf(1)}, {5, 64, 10}, {1500, 257, 0.3}} {
			x := random(c.rows, c.hidden)
			y := turned(x, c.noise)
			if math.IsInf(c.noise, 1) {
				y = block(random(c.rows, c.hidden+1), 0, c.rows, 1, c.hidden+1)
			}
			one := of(optest.Shape(c.rows, c.hidden, c.noise), x, y)
			one.Split, one.Measured = c.rows == 1500, c.rows == 1500
			cases = append(cases, one)
		}
		// Rows without a direction, parallel and opposite rows, and lengths far from 1.
		inf, nan := math.Inf(1), math.NaN()
		return append(cases, of("edges",
			ref.Mat{Rows: 8, Cols: 3, Data: []float64{0, 0, 0, 1, 2, 3, 0, 0, 0, 1, 2, 3, 1, 2, 3, 1, inf, 0, nan, 1, 0, 1e12, 0, 1e12}},
			ref.Mat{Rows: 8, Cols: 3, Data: []float64{1, 2, 3, 0, 0, 0, 0, 0, 0, 1, 2, 3, -1, -2, -3, 1, 1, 1, 1, 1, 1, 1e-12, 0, 0}}))
	}}
}

func blockinfluenceTable() optest.Table {
	return angleTable("blockinfluence", blockinfluenceBound, BlockInfluence, ref.BlockInfluence)
}

func TestBlockInfluence(t *testing.T) { blockinfluenceTable().Test(t) }

func BenchmarkBlockInfluence(b *testing.B) { blockinfluenceTable().Benchmark(b) }

func angulardistanceTable() optest.Table {
	return angleTable("angulardistance", angulardistanceBound, AngularDistance, ref.AngularDistance)
}

func TestAngularDistance(t *testing.T) { angulardistanceTable().Test(t) }

func BenchmarkAngularDistance(b *testing.B) { angulardistanceTable().Benchmark(b) }

func TestBlockInfluenceShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, out := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 1, 4)
	refused(t, d, "other rows", func(r *vk.Recorder) { BlockInfluence(r, out, x, x.RowRange(0, 3)) })
	refused(t, d, "16-bit states", func(r *vk.Recorder) { BlockInfluence(r, out, x, Of(x.View, dtype.F16, 4, 6)) })
	refused(t, d, "an angle too many", func(r *vk.Recorder) { AngularDistance(r, b.empty(dtype.F32, 1, 5), x, x) })
	refused(t, d, "absent states", func(r *vk.Recorder) { AngularDistance(r, out, Tensor{}, Tensor{}) })
}
