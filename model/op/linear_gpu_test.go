package op

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Every kernel for GPUs is right on every device that can run it, whichever the device would choose; those of a family give the same
// bits.
func TestLinearGPU(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, s := range []struct {
			tokens, out, in int
			dtype           dtype.DType
		}{{131, 70, 64, dtype.F16}, {33, 300, 40, dtype.BF16}, {18, 67, 31, dtype.F32}} {
			for _, fusion := range fusions {
				c := newFusedCase(newBench(t, d), s.tokens, s.out, s.in, s.dtype)
				for _, family := range linearGPU(d, Tensor{Rows: s.tokens, Cols: s.in}, Tensor{DType: s.dtype, Rows: s.out, Cols: s.in}, fusion.of(c)) {
					var first []float32
					for _, k := range family {
						t.Run(fmt.Sprintf("%v %s by %s %v", s, fusion.name, k.shader, k.spec), func(t *testing.T) {
							got := c.runBy(fusion.of, k.record)
							vktest.Near(t, got, fusion.want(c).Data, "linear", s.dtype.String())
							if first == nil {
								first = got
							} else if !slices.Equal(first, got) {
								t.Error("another tile, other bits")
							}
						})
					}
				}
			}
		}
	})
}
