package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// rmsnormBackwardBound is of rmsnorm_bwd.
var rmsnormBackwardBound = optest.Bound{Max: 3e-6, Why: "rmsnorm, a second sum over the row, and the difference of two terms of the result's size"}

// normEps is so large that of a row of one element something is left: with a small one, its gradient is the difference of numbers alike.
const normEps = 0.5

// normGradient is the gradient of a norm with its references.
type normGradient struct {
	record   func(r *vk.Recorder, dx, products, dy, x, w, residual Tensor, eps float32)
	backward func(dy, x ref.Mat, w []float64) (dx, products ref.Mat)
	forward  func(x ref.Mat, w []float64) ref.Mat // without a bias
}

// of is the case of [rows hidden], with or without a residual: with both results, one alone, and in place.
func (n normGradient) of(rows, hidden int, dt dtype.DType, residual bool) optest.Case {
	x, w, wide := random(rows, hidden), random(1, hidden), random(rows, hidden+2)
	dy, added := block(wide, 0, rows, 2, hidden+2), block(wide, 0, rows, 1, hidden+1)
	one := optest.Case{
		Name: optest.Shape(rows, hidden, dt), Of: dt, In: append(f32s(dy, x), optest.Input{Mat: w, DType: dt}), Out: likes(x, x),
		InPlace: [][]int{{optest.Absent, -1}, {0, 1}},
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			var plus Tensor
			if residual {
				plus = Tensor(in[3])
			}
			n.record(r, Tensor(out[0]), Tensor(out[1]), Tensor(in[0]), Tensor(in[1]), Tensor(in[2]), plus, normEps)
		},
		Want: func(in []ref.Mat) []ref.Mat {
			dx, products := n.backward(in[0], in[1], in[2].Data)
			if residual {
				dx = ref.Add(dx, in[3])
			}
			return []ref.Mat{dx, products}
		},
		Large: rows > 1300, Flops: 10 * float64(rows*hidden),
	}
	if residual {
		one.Name += ",residual"
		one.In = append(one.In, f32s(added)...)
		one.InPlace = [][]int{{-1, optest.Absent}, {3, 0}}
	}
	if rows*hidden <= mostDifferenced {
		one.Gradient = n.gradient(&one, residual)
	}
	return one
}

// gradient gives every row weights of its own, the last input, of which the device has no use: the gradients by them are the products.
func (n normGradient) gradient(c *optest.Case, residual bool) *optest.Gradient {
	x, w := c.In[1].Mat, c.In[2].Mat
	each := ref.NewMat(x.Rows, x.Cols)
	for row := range each.Rows {
		copy(each.Row(row), w.Data)
	}
	last := len(c.In)
	c.In = append(c.In, optest.Input{Mat: each, DType: c.Of})
	return &optest.Gradient{DY: -1, By: []int{1, last}, Forward: func(in []ref.Mat) ref.Mat {
		sum := 0.0
		for row := range x.Rows {
			sum += dot(n.forward(window(in[1], row, 1), in[last].Row(row)), window(in[0], row, 1))
		}
		if residual {
			sum += dot(in[1], in[3])
		}
		return vector(sum)
	}}
}

// dot is the sum of the products of elements.
func dot(a, b ref.Mat) (sum float64) {
	for i, v := range a.Data {
		sum += v * b.Data[i]
	}
	return sum
}

func (n normGradient) table(op string, bound optest.Bound) optest.Table {
	return optest.Table{Op: op, Bound: bound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, residual := range []bool{false, true} {
			for _, dt := range dtype.All {
				for _, c := range [][2]int{{1, 1}, {1, 4096}, {7, 120}, {3, 4097}, {2, 255}, {33, 8}, {9, 64}} {
					cases = append(cases, n.of(c[0], c[1], dt, residual))
				}
			}
			cases = append(cases, n.of(1301, 401, dtype.F32, residual), n.of(1301, 408, dtype.BF16, residual))
		}
		return cases
	}, Benchmarks: func() []optest.Case {
		return []optest.Case{n.of(2048, 128, dtype.F32, true), n.of(16384, 16, dtype.F32, true), n.of(2048, 384, dtype.F32, true)}
	}}
}

func rmsnormBackwardTable() optest.Table {
	of := func(plusOne bool) normGradient {
		weights := func(w []float64) []float64 { return weightsOf(vector(w...), plusOne) }
		return normGradient{
			record: func(r *vk.Recorder, dx, products, dy, x, w, residual Tensor, eps float32) {
				RMSNormBackward(r, dx, products, dy, x, w, residual, eps, plusOne)
			},
			backward: func(dy, x ref.Mat, w []float64) (dx, products ref.Mat) {
				return ref.RMSNormBackward(dy, x, weights(w), normEps)
			},
			forward: func(x ref.Mat, w []float64) ref.Mat { return ref.RMSNorm(x, weights(w), normEps) },
		}
	}
	t := of(false).table("rmsnorm_bwd", rmsnormBackwardBound)
	plain := t.Cases
	t.Cases = func() []optest.Case {
		list := plain()
		for _, c := range []optest.Case{of(true).of(7, 120, dtype.BF16, true), of(true).of(5, 77, dtype.F32, false), of(true).of(9, 64, dtype.F16, true)} {
			c.Name += ",plus one"
			list = append(list, c)
		}
		return list
	}
	return t
}

func TestRMSNormBackward(t *testing.T) { rmsnormBackwardTable().Test(t) }

func BenchmarkRMSNormBackward(b *testing.B) { rmsnormBackwardTable().Benchmark(b) }

func TestRMSNormBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, y, w := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 4, 6), b.empty(dtype.F16, 1, 6)
	none := Tensor{}
	refused(t, d, "no result", func(r *vk.Recorder) { RMSNormBackward(r, none, none, x, x, w, none, 1e-5, false) })
	refused(t, d, "one tensor for both results", func(r *vk.Recorder) { RMSNormBackward(r, y, y, x, x, w, none, 1e-5, false) })
	refused(t, d, "another w", func(r *vk.Recorder) { RMSNormBackward(r, y, none, x, x, x, none, 1e-5, false) })
	refused(t, d, "another residual", func(r *vk.Recorder) { RMSNormBackward(r, y, none, x, x, w, x.RowRange(0, 1), 1e-5, false) })
	refused(t, d, "16-bit dy", func(r *vk.Recorder) {
		RMSNormBackward(r, y, none, Of(x.View, dtype.F16, 4, 6), x, w, none, 1e-5, false)
	})
	refused(t, d, "no dy", func(r *vk.Recorder) { RMSNormBackward(r, y, none, none, x, w, none, 1e-5, false) })
}
