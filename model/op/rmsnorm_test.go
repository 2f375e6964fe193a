package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
)

// rmsnormBound is of rmsnorm.
var rmsnormBound = optest.Bound{Max: 2e-6, Why: "a few f32 roundings and the driver's inversesqrt (2 ulp)"}

func rmsnormTable() optest.Table {
	return optest.Table{Op: "rmsnorm", Bound: rmsnormBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, hidden int
			dtype        dtype.DType
		}{
			{1, 1, dtype.F32}, {1, 4096, dtype.BF16}, {7, 120, dtype.F16}, {3, 4097, dtype.F32}, {2, 255, dtype.BF16}, {2048, 384, dtype.F32},
			{9, 64, dtype.F32}, {9, 64, dtype.F16}, {301, 1025, dtype.F16},
		} {
			x, w := random(c.rows, c.hidden), random(1, c.hidden)
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.hidden, c.dtype), Of: c.dtype, In: []optest.Input{{Mat: x}, {Mat: w, DType: c.dtype}}, Out: likes(x), InPlace: [][]int{{0}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					RMSNorm(r, Tensor(out[0]), Tensor(in[0]), Tensor(in[1]), 1e-5)
				},
				Want:  func(in []ref.Mat) []ref.Mat { return []ref.Mat{ref.RMSNorm(in[0], in[1].Data, 1e-5)} },
				Large: c.rows > 300, Measured: c.rows == 2048,
			})
		}
		return cases
	}}
}

func TestRMSNorm(t *testing.T) { rmsnormTable().Test(t) }

func BenchmarkRMSNorm(b *testing.B) { rmsnormTable().Benchmark(b) }
