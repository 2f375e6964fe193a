package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
)

// Weights become f32 without rounding, so equality is exact.
func fromdtypeTable() optest.Table {
	return optest.Table{Op: "fromdtype", Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, cols int
			dtype      dtype.DType
		}{{1, 1, dtype.F16}, {1, 3, dtype.F32}, {5, 77, dtype.BF16}, {64, 384, dtype.F16}, {513, 1031, dtype.BF16}, {513, 1031, dtype.F32}} {
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.cols, c.dtype), In: []optest.Input{{Mat: random(c.rows, c.cols), DType: c.dtype}}, Out: exact(dtype.F32, c.rows, c.cols),
				Record: func(r *vk.Recorder, out, in []optest.Tensor) { FromDType(r, Tensor(out[0]), Tensor(in[0])) },
				Want:   func(in []ref.Mat) []ref.Mat { return one(in[0]) },
				Large:  c.rows == 513, Measured: c.rows == 513,
			})
		}
		return cases
	}}
}

func TestFromDType(t *testing.T) { fromdtypeTable().Test(t) }

func BenchmarkFromDType(b *testing.B) { fromdtypeTable().Benchmark(b) }
