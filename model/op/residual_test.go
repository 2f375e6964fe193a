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

// residualBound is of residual, whose cases have a product of 2^13 times what is left of it.
var residualBound = optest.Bound{Max: 3e-6, Why: "2^-32 of the terms, of which the largest results are 2^-13: an f32 sum would be off by 1e-3 and more"}

// doubled are the two f32 whose sum a float64 is, to 48 bits.
func doubled(m ref.Mat) (high, low ref.Mat) {
	high, low = ref.NewMat(m.Rows, m.Cols), ref.NewMat(m.Rows, m.Cols)
	for i, v := range m.Data {
		high.Data[i] = float64(float32(v))
		low.Data[i] = float64(float32(v - high.Data[i]))
	}
	return high, low
}

// inPanels are the columns of m, CholeskyBlock after CholeskyBlock.
func inPanels(m ref.Mat) ref.Mat {
	y := ref.Mat{Rows: m.Rows * m.Cols / CholeskyBlock, Cols: CholeskyBlock}
	for c := 0; c < m.Cols; c += CholeskyBlock {
		y.Data = append(y.Data, block(m, 0, m.Rows, c, c+CholeskyBlock).Data...)
	}
	return y
}

func residualTable() optest.Table {
	return optest.Table{Op: "residual", Bound: residualBound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, s := range []struct{ rows, panels, cols int }{{1, 1, 4}, {24, 3, 128}, {7, 2, 128}, {5, 1, 36}, {513, 2, 128}, {512, 12, 128}} {
			x, w := random(s.rows, s.panels*CholeskyBlock), random(s.panels*CholeskyBlock, s.cols)
			for i, v := range x.Data {
				x.Data[i] = float64(float32(v))
			}
			for i, v := range w.Data {
				w.Data[i] = v * (1 + math.Ldexp(random(1, 1).Data[0], -26))
			}
			wHigh, wLow := doubled(w)
			c, left := ref.Residual(x, ref.Add(wHigh, wLow), ref.NewMat(s.rows, s.cols)), random(s.rows, s.cols)
			for i, v := range left.Data {
				c.Data[i] -= math.Ldexp(v*math.Sqrt(float64(x.Cols)), -13)
			}
			cHigh, cLow := doubled(c)
			cases = append(cases, optest.Case{
				Name: optest.Shape(s.rows, x.Cols, s.cols), In: f32s(inPanels(x), wHigh, wLow, cHigh, cLow), Out: likes(c),
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					Residual(r, Tensor(out[0]), Tensor(in[0]), Double{Tensor(in[1]), Tensor(in[2])}, Double{Tensor(in[3]), Tensor(in[4])})
				},
				Want: func(in []ref.Mat) []ref.Mat {
					return one(ref.Residual(x, ref.Add(in[1], in[2]), ref.Add(in[3], in[4])))
				},
				Measured: s.panels == 12, Flops: 2 * float64(s.rows*x.Cols*s.cols),
			})
		}
		return cases
	}}
}

func TestResidual(t *testing.T) { residualTable().Test(t) }

func BenchmarkResidual(b *testing.B) { residualTable().Benchmark(b) }

func TestResidualShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, w, c := b.empty(dtype.F32, 6, 128), b.empty(dtype.F32, 256, 8), b.empty(dtype.F32, 3, 8)
	two := func(t Tensor) Double { return Double{t, t} }
	refused(t, d, "a part of a panel", func(r *vk.Recorder) { Residual(r, c, x.RowRange(0, 5), two(w), two(c)) })
	refused(t, d, "other inputs", func(r *vk.Recorder) { Residual(r, c, x, two(w.RowRange(0, 128)), two(c)) })
	refused(t, d, "no low part", func(r *vk.Recorder) { Residual(r, c, x, Double{High: w}, two(c)) })
	refused(t, d, "other outputs", func(r *vk.Recorder) { Residual(r, c, x, two(w), two(x)) })
}
