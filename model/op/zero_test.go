package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
)

// Rows of a tensor become zero, those beside them stay.
func zeroTable() optest.Table {
	return optest.Table{Op: "zero", Cases: func() (cases []optest.Case) {
		for _, c := range []struct{ rows, cols int }{{7, 3}, {2048, 384}} {
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.cols), Out: []optest.Output{{Rows: c.rows, Cols: c.cols, Exact: true}},
				Record: func(r *vk.Recorder, out, _ []optest.Tensor) { Zero(r, Tensor(out[0]).RowRange(1, c.rows-1)) },
				Want: func([]ref.Mat) []ref.Mat {
					return one(ref.ConcatRows(kept(1, c.cols), ref.NewMat(c.rows-2, c.cols), kept(1, c.cols)))
				},
				Measured: c.rows == 2048,
			})
		}
		return cases
	}}
}

func TestZero(t *testing.T) { zeroTable().Test(t) }

func BenchmarkZero(b *testing.B) { zeroTable().Benchmark(b) }
