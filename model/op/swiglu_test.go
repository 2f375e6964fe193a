package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// swigluBound is of swiglu.
var swigluBound = optest.Bound{Max: 5e-6, Why: "exp of f32 (3 + 2|z| ulp in Vulkan) and a division (2.5 ulp)"}

func swigluTable() optest.Table {
	return optest.Table{Op: "swiglu", Bound: swigluBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, cols int
			gelu       bool
		}{{1, 1, false}, {1, 3, false}, {7, 127, false}, {3, 1408, false}, {1001, 703, false}, {2048, 384, false}, {5, 77, true}, {9, 512, true}} {
			gate := random(c.rows, c.cols)
			up := block(random(c.rows, c.cols+1), 0, c.rows, 1, c.cols+1)
			for i := range gate.Data {
				gate.Data[i] *= 5
			}
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.cols, c.gelu), In: f32s(gate, up), Out: likes(gate), InPlace: [][]int{{0}, {1}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					SwiGLU(r, Tensor(out[0]), Tensor(in[0]), Tensor(in[1]), c.gelu)
				},
				Want: func(in []ref.Mat) []ref.Mat {
					if c.gelu {
						return one(ref.GeGLU(in[0], in[1]))
					}
					return one(ref.SwiGLU(in[0], in[1]))
				},
				Large: c.rows > 1000, Measured: c.rows == 2048,
			})
		}
		return cases
	}}
}

func TestSwiGLU(t *testing.T) { swigluTable().Test(t) }

func BenchmarkSwiGLU(b *testing.B) { swigluTable().Benchmark(b) }

// Gates where e^−z overflows f32, or vanishes: no NaN, and nothing lost.
func TestSwiGLULarge(t *testing.T) {
	gate := ref.Mat{Rows: 2, Cols: 7, Data: []float64{-1e30, -1000, -104, -89, -88, -20, 0, 1e30, 1000, 104, 89, 88, 20, 1}}
	up := ref.NewMat(2, 7)
	for i := range up.Data {
		up.Data[i] = 1
	}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		y := b.empty(dtype.F32, 2, 7)
		for _, gelu := range []bool{false, true} {
			SwiGLU(b.r, y, b.upload(gate, dtype.F32), b.upload(up, dtype.F32), gelu)
			got, want := b.download(y), ref.SwiGLU(gate, up).Data
			if gelu {
				want = ref.GeGLU(gate, up).Data
				for i, v := range want {
					want[i] = float64(float32(v)) // GELU vanishes faster than f32 can say
				}
			}
			swigluBound.Near(t, got[:7], want[:7], dtype.F32)
			for i := 7; i < 14; i++ { // each to its own size
				swigluBound.Near(t, got[i:i+1], want[i:i+1], dtype.F32)
			}
		}
	})
}

func TestSwiGLUShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x := b.empty(dtype.F32, 4, 6)
	refused(t, d, "another shape", func(r *vk.Recorder) { SwiGLU(r, x, x, x.RowRange(0, 3), false) })
	refused(t, d, "16-bit gate", func(r *vk.Recorder) { SwiGLU(r, x, Of(x.View, dtype.BF16, 4, 6), x, false) })
}
