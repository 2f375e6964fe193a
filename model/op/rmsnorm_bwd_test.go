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

// rmsnormBackwardBound is of rmsnorm_bwd.
var rmsnormBackwardBound = optest.Bound{Max: 3e-6, Why: "rmsnorm, a second sum over the row, and the difference of two terms of the result's size"}

// normGradients runs the gradient of a norm in every combination of its results, with and without a residual, in place and not.
func normGradients(t *testing.T, bound optest.Bound, record func(r *vk.Recorder, dx, products, dy, x, w, residual Tensor), want func(dy, x ref.Mat, w []float64) (dx, products ref.Mat)) {
	each := func(t *testing.T, d *vk.Device, rows, hidden int, dt dtype.DType) {
		t.Run(fmt.Sprintf("%dx%d,%v", rows, hidden, dt), func(t *testing.T) {
			b := newBench(t, d)
			x, w, dy := random(rows, hidden), random(1, hidden), random(rows, hidden+2)
			dy, residual := block(dy, 0, rows, 2, hidden+2), block(dy, 0, rows, 1, hidden+1)
			tx, tw, tdy, tr := b.upload(x, dtype.F32), b.upload(w, dt), b.upload(dy, dtype.F32), b.upload(residual, dtype.F32)
			dx, products := want(dy, x, w.Data)
			near := func(got Tensor, want ref.Mat) {
				t.Helper()
				bound.Near(t, b.download(got), want.Data, dt)
			}
			y, p := b.empty(dtype.F32, rows, hidden), b.empty(dtype.F32, rows, hidden)
			record(b.r, y, p, tdy, tx, tw, Tensor{})
			near(y, dx)
			near(p, products)
			y, p = b.empty(dtype.F32, rows, hidden), b.empty(dtype.F32, rows, hidden)
			record(b.r, y, Tensor{}, tdy, tx, tw, tr)
			near(y, ref.Add(dx, residual))
			record(b.r, Tensor{}, p, tdy, tx, tw, Tensor{})
			near(p, products)
			record(b.r, tr, tdy, tdy, tx, tw, tr)
			near(tr, ref.Add(dx, residual))
			near(tdy, products)
			tdy = b.upload(dy, dtype.F32)
			record(b.r, tdy, tx, tdy, tx, tw, Tensor{})
			near(tdy, dx)
			near(tx, products)
		})
	}
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, dt := range dtype.All {
			for _, c := range [][2]int{{1, 1}, {1, 4096}, {7, 120}, {3, 4097}, {2, 255}, {33, 8}, {9, 64}} {
				each(t, d, c[0], c[1], dt)
			}
		}
	})
	t.Run("split", func(t *testing.T) {
		d := vktest.Open(t, vk.Options{StorageRange: 1 << 20})
		each(t, d, 1301, 401, dtype.F32)
		each(t, d, 1301, 408, dtype.BF16)
		vktest.Clean(t)
	})
}

// normEps is so large that of a row of one element something is left: with a small one, its gradient is the difference of numbers alike.
const normEps = 0.5

func TestRMSNormBackward(t *testing.T) {
	normGradients(t, rmsnormBackwardBound, func(r *vk.Recorder, dx, products, dy, x, w, residual Tensor) {
		RMSNormBackward(r, dx, products, dy, x, w, residual, normEps)
	}, func(dy, x ref.Mat, w []float64) (dx, products ref.Mat) { return ref.RMSNormBackward(dy, x, w, normEps) })
}

func TestRMSNormBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, y, w := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 4, 6), b.empty(dtype.F16, 1, 6)
	none := Tensor{}
	refused(t, d, "no result", func(r *vk.Recorder) { RMSNormBackward(r, none, none, x, x, w, none, 1e-5) })
	refused(t, d, "one tensor for both results", func(r *vk.Recorder) { RMSNormBackward(r, y, y, x, x, w, none, 1e-5) })
	refused(t, d, "another w", func(r *vk.Recorder) { RMSNormBackward(r, y, none, x, x, x, none, 1e-5) })
	refused(t, d, "another residual", func(r *vk.Recorder) { RMSNormBackward(r, y, none, x, x, w, x.RowRange(0, 1), 1e-5) })
	refused(t, d, "16-bit dy", func(r *vk.Recorder) { RMSNormBackward(r, y, none, Of(x.View, dtype.F16, 4, 6), x, w, none, 1e-5) })
	refused(t, d, "no dy", func(r *vk.Recorder) { RMSNormBackward(r, y, none, none, x, w, none, 1e-5) })
}

func BenchmarkRMSNormBackward(b *testing.B) { benchmarkNormBackward(b, RMSNormBackward) }

func benchmarkNormBackward(b *testing.B, record func(r *vk.Recorder, dx, products, dy, x, w, residual Tensor, eps float32)) {
	d := vktest.Open(b, vk.Options{})
	for _, c := range [][2]int{{2048, 128}, {16384, 16}, {2048, 384}} {
		b.Run(fmt.Sprintf("%dx%d", c[0], c[1]), func(b *testing.B) {
			f := newBench(b, d)
			x := func(rows int) Tensor { return f.upload(random(rows, c[1]), dtype.F32) }
			dx, products, dy, in, w, residual := x(c[0]), x(c[0]), x(c[0]), x(c[0]), x(1), x(c[0])
			f.measure(20, func() { record(f.r, dx, products, dy, in, w, residual, 1e-5) })
		})
	}
}
