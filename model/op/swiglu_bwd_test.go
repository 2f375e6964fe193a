package op

import (
	"fmt"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// swigluBackwardBound is of swiglu_bwd.
var swigluBackwardBound = optest.Bound{Max: 5e-6, Why: "exp of f32 (3 + 2|z| ulp in Vulkan) and a division (2.5 ulp)"}

func TestSwiGLUBackward(t *testing.T) {
	eachAndSplit(t, func(t *testing.T, d *vk.Device, split bool) {
		for _, c := range []struct{ rows, cols int }{{1, 1}, {1, 3}, {7, 127}, {3, 1408}, {1001, 703}} {
			if split && c.rows < 1001 {
				continue
			}
			gate, wide := random(c.rows, c.cols), random(c.rows, c.cols+2)
			up, dy := block(wide, 0, c.rows, 1, c.cols+1), block(wide, 0, c.rows, 2, c.cols+2)
			for i := range gate.Data {
				gate.Data[i] *= 5
			}
			b := newBench(t, d)
			tg, tu, td := b.upload(gate, dtype.F32), b.upload(up, dtype.F32), b.upload(dy, dtype.F32)
			dgate, dup := ref.SwiGLUBackward(dy, gate, up)
			for _, into := range [][2]Tensor{{b.empty(dtype.F32, c.rows, c.cols), b.empty(dtype.F32, c.rows, c.cols)}, {tg, tu}} {
				SwiGLUBackward(b.r, into[0], into[1], td, tg, tu)
				swigluBackwardBound.Near(t, b.download(into[0]), dgate.Data, dtype.F32)
				swigluBackwardBound.Near(t, b.download(into[1]), dup.Data, dtype.F32)
			}
		}
	})
}

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
		SwiGLUBackward(b.r, dg, du, to, tg, to)
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
	refused(t, d, "another shape", func(r *vk.Recorder) { SwiGLUBackward(r, y, x, x, x, x.RowRange(0, 3)) })
	refused(t, d, "16-bit gate", func(r *vk.Recorder) { SwiGLUBackward(r, y, x, x, Of(x.View, dtype.BF16, 4, 6), x) })
	refused(t, d, "one tensor for both results", func(r *vk.Recorder) { SwiGLUBackward(r, y, y, x, x, x) })
}

func BenchmarkSwiGLUBackward(b *testing.B) {
	d := vktest.Open(b, vk.Options{})
	for _, c := range [][2]int{{2048, 384}} {
		b.Run(fmt.Sprintf("%dx%d", c[0], c[1]), func(b *testing.B) {
			f := newBench(b, d)
			x := func() Tensor { return f.upload(random(c[0], c[1]), dtype.F32) }
			dgate, dup, dy, gate, up := x(), x(), x(), x(), x()
			f.measure(20, func() { SwiGLUBackward(f.r, dgate, dup, dy, gate, up) })
		})
	}
}
