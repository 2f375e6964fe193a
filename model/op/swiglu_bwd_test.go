package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// swigluBackwardBound is of swiglu_bwd.
var swigluBackwardBound = optest.Bound{Max: 5e-6, Why: "exp of f32 (3 + 2|z| ulp in Vulkan) and a division (2.5 ulp)"}

func swigluBackwardTable() optest.Table {
	return optest.Table{Op: "swiglu_bwd", Bound: swigluBackwardBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, cols int
			gelu       bool
		}{{1, 1, false}, {1, 3, false}, {7, 127, false}, {3, 1408, false}, {1001, 703, false}, {2048, 384, false}, {5, 77, true}, {9, 64, true}} {
			forward, backward := ref.SwiGLU, ref.SwiGLUBackward
			if c.gelu {
				forward, backward = ref.GeGLU, ref.GeGLUBackward
			}
			gate, wide := random(c.rows, c.cols), random(c.rows, c.cols+2)
			up, dy := block(wide, 0, c.rows, 1, c.cols+1), block(wide, 0, c.rows, 2, c.cols+2)
			for i := range gate.Data {
				gate.Data[i] *= 5
			}
			one := optest.Case{
				Name: optest.Shape(c.rows, c.cols, c.gelu), In: f32s(dy, gate, up), Out: likes(gate, up), InPlace: [][]int{{1, 2}, {2, 0}, {0, 1}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					SwiGLUBackward(r, Tensor(out[0]), Tensor(out[1]), Tensor(in[0]), Tensor(in[1]), Tensor(in[2]), c.gelu)
				},
				Want: func(in []ref.Mat) []ref.Mat {
					dgate, dup := backward(in[0], in[1], in[2])
					return []ref.Mat{dgate, dup}
				},
				Large: c.rows > 1000, Measured: c.rows == 2048,
			}
			if !one.Large {
				one.Gradient = &optest.Gradient{Forward: func(in []ref.Mat) ref.Mat { return forward(in[1], in[2]) }, DY: 0, By: []int{1, 2}}
			}
			cases = append(cases, one)
		}
		return cases
	}}
}

func TestSwiGLUBackward(t *testing.T) { swigluBackwardTable().Test(t) }

func BenchmarkSwiGLUBackward(b *testing.B) { swigluBackwardTable().Benchmark(b) }

// Gates where e^−z overflows f32, or vanishes: no NaN, and nothing lost.
func TestSwiGLUBackwardLarge(t *testing.T) {
	gate := ref.Mat{Rows: 2, Cols: 7, Data: []float64{-1e30, -1000, -104, -89, -88, -20, 0, 1e30, 1000, 104, 89, 88, 20, 1}}
	ones := ref.NewMat(2, 7)
	for i := range ones.Data {
		ones.Data[i] = 1
	}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		tg, to, dg, du := b.upload(gate, dtype.F32), b.upload(ones, dtype.F32), b.empty(dtype.F32, 2, 7), b.empty(dtype.F32, 2, 7)
		SwiGLUBackward(b.r, dg, du, to, tg, to, false)
		dgate, dup := ref.SwiGLUBackward(ones, gate, ones)
		swigluBackwardBound.Near(t, b.download(dg), dgate.Data, dtype.F32)
		got := b.download(du)
		swigluBackwardBound.Near(t, got[:7], dup.Data[:7], dtype.F32)
		for i := 7; i < 14; i++ { // each to its own size
			swigluBackwardBound.Near(t, got[i:i+1], dup.Data[i:i+1], dtype.F32)
		}
	})
}

func TestSwiGLUBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, y := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 4, 6)
	refused(t, d, "another shape", func(r *vk.Recorder) { SwiGLUBackward(r, y, x, x, x, x.RowRange(0, 3), false) })
	refused(t, d, "16-bit gate", func(r *vk.Recorder) { SwiGLUBackward(r, y, x, x, Of(x.View, dtype.BF16, 4, 6), x, false) })
	refused(t, d, "one tensor for both results", func(r *vk.Recorder) { SwiGLUBackward(r, y, y, x, x, x, false) })
}
