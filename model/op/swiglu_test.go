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

func TestSwiGLU(t *testing.T) {
	eachAndSplit(t, func(t *testing.T, d *vk.Device, split bool) {
		for _, c := range []struct{ rows, cols int }{{1, 1}, {1, 3}, {7, 127}, {3, 1408}, {1001, 703}} {
			if split && c.rows < 1001 {
				continue
			}
			gate := random(c.rows, c.cols)
			up := block(random(c.rows, c.cols+1), 0, c.rows, 1, c.cols+1)
			for i := range gate.Data {
				gate.Data[i] *= 5
			}
			b := newBench(t, d)
			dg, du, y := b.upload(gate, dtype.F32), b.upload(up, dtype.F32), b.empty(dtype.F32, c.rows, c.cols)
			want := ref.SwiGLU(gate, up)
			SwiGLU(b.r, y, dg, du)
			SwiGLU(b.r, dg, dg, du)
			swigluBound.Near(t, b.download(y), want.Data, dtype.F32)
			swigluBound.Near(t, b.download(dg), want.Data, dtype.F32)
		}
	})
}

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
		SwiGLU(b.r, y, b.upload(gate, dtype.F32), b.upload(up, dtype.F32))
		got, want := b.download(y), ref.SwiGLU(gate, up).Data
		swigluBound.Near(t, got[:7], want[:7], dtype.F32)
		for i := 7; i < 14; i++ { // each to its own size
			swigluBound.Near(t, got[i:i+1], want[i:i+1], dtype.F32)
		}
	})
}

func TestSwiGLUShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x := b.empty(dtype.F32, 4, 6)
	refused(t, d, "another shape", func(r *vk.Recorder) { SwiGLU(r, x, x, x.RowRange(0, 3)) })
	refused(t, d, "16-bit gate", func(r *vk.Recorder) { SwiGLU(r, x, Of(x.View, dtype.BF16, 4, 6), x) })
}
