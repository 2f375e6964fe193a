package op

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// eachKernel runs f with every kernel for GPUs that a device can run on a case, whichever it would choose.
func (c *fusedCase) eachKernel(of func(c *fusedCase) Fused, f func(family int, k linearKernel)) {
	families := linearGPU(c.d, Tensor{Rows: c.x.Rows, Cols: c.x.Cols}, Tensor{DType: c.dt, Rows: c.w.Rows, Cols: c.w.Cols}, of(c))
	for i, family := range families {
		for _, k := range family {
			f(i, k)
		}
	}
}

// tolerance is the entry for a kernel's results.
func (k linearKernel) tolerance() string {
	if k.half {
		return "linear of f16"
	}
	return "linear"
}

// Every kernel for GPUs is right on every device that can run it, and those of a family give the same bits.
func TestLinearGPU(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, s := range []struct {
			tokens, out, in int
			dtype           dtype.DType
		}{{131, 70, 64, dtype.F16}, {33, 300, 40, dtype.F16}, {33, 300, 40, dtype.BF16}, {18, 67, 31, dtype.F32}} {
			for _, fusion := range fusions {
				if !slices.Contains([]string{"residual", "norm", "norm, swiglu, biases"}, fusion.name) {
					continue // the others compile more, which takes Mesa 26 some seconds, and compute nothing else
				}
				first := map[int][]float32{}
				c := newFusedCase(newBench(t, d), s.tokens, s.out, s.in, s.dtype)
				c.eachKernel(fusion.of, func(family int, k linearKernel) {
					t.Run(fmt.Sprintf("%v %s by %s %v", s, fusion.name, k.shader, k.spec), func(t *testing.T) {
						got := c.runBy(fusion.of, k.record)
						vktest.Near(t, got, fusion.want(c).Data, k.tolerance(), s.dtype.String())
						if first[family] == nil {
							first[family] = got
						} else if !slices.Equal(first[family], got) {
							t.Error("another tile, other bits")
						}
					})
				})
			}
		}
	})
}

// Activations far beyond what f16 holds, and far below, are as good as others.
func TestLinearRange(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		scales := []float64{1e6, 1, 1e-6, 1e30, 1e-30, 65504, 0}
		c := newFusedCase(newBench(t, d), len(scales), 40, 128, dtype.F16)
		for i, s := range scales {
			for j := range c.x.Row(i) {
				c.x.Row(i)[j] *= s
			}
			c.x.Row(i)[i] *= 30 // an outlier, as models have
		}
		plain := func(c *fusedCase) Fused { return Fused{Scratch: c.scratch()} }
		c.eachKernel(plain, func(_ int, k linearKernel) {
			got, want := c.runBy(plain, k.record), ref.Linear(c.x, c.w, nil)
			for i := range scales { // each row against its own size
				vktest.Near(t, got[i*want.Cols:(i+1)*want.Cols], want.Row(i), k.tolerance(), "F16")
			}
		})
	})
}

// A row of x that is not finite gives a row of y that is not, and no other.
func TestLinearNotFinite(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		c := newFusedCase(newBench(t, d), 6, 40, 64, dtype.F16)
		c.x.Row(1)[5], c.x.Row(3)[7] = math.Inf(1), math.NaN()
		plain := func(c *fusedCase) Fused { return Fused{Scratch: c.scratch()} }
		c.eachKernel(plain, func(_ int, k linearKernel) {
			got := c.runBy(plain, k.record)
			for i, v := range got {
				row, finite := i/c.w.Rows, !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0)
				if finite != (row != 1 && row != 3) {
					t.Fatalf("%s %v: row %d has %v", k.shader, k.spec, row, v)
				}
			}
		})
	})
}
