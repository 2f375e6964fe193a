package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// linearBackwardBound is of linear_bwd.
var linearBackwardBound = optest.Bound{Max: 2e-5, Why: "as linear"}

// Gradients are added to what is there: those of two micro-batches are those of both together.
func TestLinearBackward(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			tokens, in, out int
			dtype           dtype.DType
		}{{1, 1, 1, dtype.F32}, {3, 120, 48, dtype.BF16}, {17, 112, 97, dtype.F32}, {64, 128, 384, dtype.F16}, {40, 33, 63, dtype.F16}, {128, 384, 128, dtype.BF16}} {
			b := newBench(t, d)
			x, w, bias := random(c.tokens, c.in), random(c.out, c.in), random(1, c.out)
			dy, residual := random(c.out, c.tokens), random(c.in, c.tokens)
			dy.Rows, dy.Cols, residual.Rows, residual.Cols = c.tokens, c.out, c.tokens, c.in
			tx, tw, td, tr := b.upload(x, dtype.F32), b.upload(w, c.dtype), b.upload(dy, dtype.F32), b.upload(residual, dtype.F32)
			start := random(c.out, c.in+1)
			start.Cols, start.Data = c.in, start.Data[:c.out*c.in]
			g := LinearGrads{X: b.empty(dtype.F32, c.tokens, c.in), Residual: tr, W: b.upload(start, dtype.F32), Bias: b.upload(bias, dtype.F32),
				XT: b.empty(dtype.F32, c.in, c.tokens), DYT: b.empty(dtype.F32, c.out, c.tokens), WT: b.empty(c.dtype, c.in, c.out)}
			Transpose(b.r, g.XT, tx)
			LinearBackward(b.r, td, tw, g)
			dx, dw, dbias := ref.LinearBackward(dy, x, w)
			once := ref.Add(start, dw)
			linearBackwardBound.Near(t, b.download(g.X), ref.Add(residual, dx).Data, c.dtype)
			linearBackwardBound.Near(t, b.download(g.W), once.Data, c.dtype)
			for i := range dbias {
				dbias[i] += bias.Data[i]
			}
			linearBackwardBound.Near(t, b.download(g.Bias), dbias, c.dtype)

			// Once more, with what is absent: only the weights' gradient, then only the input's, by weights that are turned already.
			LinearBackward(b.r, td, tw, LinearGrads{W: g.W, XT: g.XT, DYT: g.DYT})
			linearBackwardBound.Near(t, b.download(g.W), ref.Add(once, dw).Data, c.dtype)
			LinearBackward(b.r, td, tw, LinearGrads{X: g.X, WT: g.WT, Ready: true})
			linearBackwardBound.Near(t, b.download(g.X), dx.Data, c.dtype)
		}
	})
}

func TestLinearBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	dy, w, wt := b.empty(dtype.F32, 4, 6), b.empty(dtype.BF16, 6, 8), b.empty(dtype.BF16, 8, 6)
	refused(t, d, "another width", func(r *vk.Recorder) { LinearBackward(r, dy, wt, LinearGrads{}) })
	refused(t, d, "transposed weights of another dtype", func(r *vk.Recorder) {
		LinearBackward(r, dy, w, LinearGrads{X: b.empty(dtype.F32, 4, 8), WT: b.empty(dtype.F32, 8, 6)})
	})
	refused(t, d, "no transposed input", func(r *vk.Recorder) {
		LinearBackward(r, dy, w, LinearGrads{W: b.empty(dtype.F32, 6, 8), DYT: b.empty(dtype.F32, 6, 4)})
	})
}
