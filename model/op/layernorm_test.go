package op

import (
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// layernormBound is of layernorm.
var layernormBound = optest.Bound{Max: 5e-6, Why: "rmsnorm, and the roundings of a mean of 10 deviations"}

func TestLayerNorm(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			rows, hidden int
			mean         float64 // in deviations
			dtype        dtype.DType
		}{{1, 1, 0, dtype.F32}, {1, 4096, 10, dtype.BF16}, {7, 120, -3, dtype.F16}, {3, 4097, 1, dtype.F32}, {2, 255, 10, dtype.BF16}, {5, 3, 0, dtype.F16}} {
			x, w := random(c.rows, c.hidden), random(1, c.hidden)
			bias := block(random(1, c.hidden+1), 0, 1, 1, c.hidden+1)
			for i := range x.Data {
				x.Data[i] += c.mean
			}
			b := newBench(t, d)
			dx, dw, db, dy := b.upload(x, dtype.F32), b.upload(w, c.dtype), b.upload(bias, c.dtype), b.empty(dtype.F32, c.rows, c.hidden)
			want := ref.LayerNorm(x, w.Data, bias.Data, 1e-5).Data
			one := b.empty(dtype.F32, 1, c.hidden)
			LayerNorm(b.r, dy, dx, dw, db, 1e-5)
			LayerNorm(b.r, one, b.upload(window(x, c.rows-1, 1), dtype.F32), dw, db, 1e-5)
			LayerNorm(b.r, dx, dx, dw, db, 1e-5)
			got := b.download(dy)
			layernormBound.Near(t, got, want, c.dtype)
			if !slices.Equal(b.download(dx), got) {
				t.Errorf("%+v: other bits in place", c)
			}
			if !slices.Equal(b.download(one), got[(c.rows-1)*c.hidden:]) {
				t.Errorf("%+v: other bits of a row alone", c)
			}
		}
	})
}

func TestLayerNormShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, w := b.empty(dtype.F32, 4, 6), b.empty(dtype.F16, 1, 6)
	refused(t, d, "another shape", func(r *vk.Recorder) { LayerNorm(r, x.RowRange(0, 3), x, w, w, 0) })
	refused(t, d, "no bias", func(r *vk.Recorder) { LayerNorm(r, x, x, w, Tensor{}, 0) })
	refused(t, d, "a bias of another dtype", func(r *vk.Recorder) { LayerNorm(r, x, x, w, b.empty(dtype.F32, 1, 6), 0) })
	refused(t, d, "16-bit x", func(r *vk.Recorder) { LayerNorm(r, x, Of(x.View, dtype.F16, 4, 6), w, w, 0) })
}
