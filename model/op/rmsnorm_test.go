package op

import (
	"slices"
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
			rows, hidden      int
			dtype             dtype.DType
			plusOne, residual bool
		}{
			{1, 1, dtype.F32, false, false}, {1, 4096, dtype.BF16, false, false}, {7, 120, dtype.F16, false, false}, {3, 4097, dtype.F32, false, false},
			{2, 255, dtype.BF16, false, false}, {2048, 384, dtype.F32, false, false}, {9, 64, dtype.F32, false, false}, {9, 64, dtype.F16, false, false},
			{301, 1025, dtype.F16, false, false}, {5, 120, dtype.BF16, true, false}, {6, 77, dtype.F16, true, true}, {11, 96, dtype.F32, false, true},
			{301, 1032, dtype.BF16, true, true},
		} {
			x, w := random(c.rows, c.hidden), random(1, c.hidden)
			this := optest.Case{
				Name: optest.Shape(c.rows, c.hidden, c.dtype, c.plusOne, c.residual), Of: c.dtype, In: []optest.Input{{Mat: x}, {Mat: w, DType: c.dtype}}, Out: likes(x), InPlace: [][]int{{0}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					o := NormOptions{PlusOne: c.plusOne}
					if c.residual {
						o.Residual = Tensor(in[2])
					}
					RMSNorm(r, Tensor(out[0]), Tensor(in[0]), Tensor(in[1]), 1e-5, o)
				},
				Want: func(in []ref.Mat) []ref.Mat {
					y := ref.RMSNorm(in[0], weightsOf(in[1], c.plusOne), 1e-5)
					if c.residual {
						y = ref.Add(y, in[2])
					}
					return one(y)
				},
				Large: c.rows > 300, Measured: c.rows == 2048,
			}
			if c.residual {
				this.In, this.InPlace = append(this.In, f32s(block(random(c.rows, c.hidden+1), 0, c.rows, 1, c.hidden+1))...), [][]int{{0}, {2}}
			}
			cases = append(cases, this)
		}
		return cases
	}}
}

// weightsOf are those that a norm multiplies by.
func weightsOf(w ref.Mat, plusOne bool) []float64 {
	if !plusOne {
		return w.Data
	}
	all := slices.Clone(w.Data)
	for i := range all {
		all[i]++
	}
	return all
}

func TestRMSNorm(t *testing.T) { rmsnormTable().Test(t) }

func BenchmarkRMSNorm(b *testing.B) { rmsnormTable().Benchmark(b) }
