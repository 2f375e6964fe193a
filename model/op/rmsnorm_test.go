package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// rmsnormBound is of rmsnorm.
var rmsnormBound = optest.Bound{Max: 2e-6, Why: "a few f32 roundings and the driver's inversesqrt (2 ulp)"}

func TestRMSNorm(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			rows, hidden int
			dtype        dtype.DType
		}{{1, 1, dtype.F32}, {1, 4096, dtype.BF16}, {7, 120, dtype.F16}, {3, 4097, dtype.F32}, {2, 255, dtype.BF16}} {
			b := newBench(t, d)
			x, w := random(c.rows, c.hidden), random(1, c.hidden)
			dx, dw, dy := b.upload(x, dtype.F32), b.upload(w, c.dtype), b.empty(dtype.F32, c.rows, c.hidden)
			RMSNorm(b.r, dy, dx, dw, 1e-5)
			rmsnormBound.Near(t, b.download(dy), ref.RMSNorm(x, w.Data, 1e-5).Data, c.dtype)
		}
	})
}
