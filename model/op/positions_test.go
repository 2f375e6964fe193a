package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// positionsBound is of positions.
var positionsBound = optest.Bound{Max: 1e-7, Why: "one f32 rounding"}

func positionsTable() optest.Table {
	return optest.Table{Op: "positions", Bound: positionsBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, hidden, window, start, positions int
			dtype                                  dtype.DType
		}{
			{1, 1, 1, 0, 1, dtype.F32}, {7, 120, 7, 5, 12, dtype.BF16}, {15, 65, 5, 2, 9, dtype.F16}, {3, 33, 9, 1, 4, dtype.BF16},
			{700, 501, 100, 2, 102, dtype.F16},  // y is beyond 1 MiB
			{1400, 401, 700, 2, 702, dtype.F32}, // both
		} {
			x, table := random(c.rows, c.hidden), random(c.positions, c.hidden)
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.hidden, c.window, c.start, c.dtype), In: []optest.Input{{Mat: table, DType: c.dtype}}, Out: []optest.Output{{Rows: c.rows, Cols: c.hidden, Start: x}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					AddPositions(r, Tensor(out[0]), Tensor(in[0]), c.window, c.start)
				},
				Want: func(in []ref.Mat) []ref.Mat {
					return one(ref.AddPositions(x, in[0], positionsOf(c.rows, c.window, c.start)))
				},
				Large: c.rows >= 700, Measured: c.rows == 1400,
			})
		}
		return cases
	}}
}

func TestAddPositions(t *testing.T) { positionsTable().Test(t) }

func BenchmarkAddPositions(b *testing.B) { positionsTable().Benchmark(b) }

func TestAddPositionsShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	y, table := b.empty(dtype.F32, 4, 6), b.empty(dtype.BF16, 6, 6)
	refused(t, d, "positions past the table", func(r *vk.Recorder) { AddPositions(r, y, table, 4, 3) })
	refused(t, d, "another width", func(r *vk.Recorder) { AddPositions(r, y, b.empty(dtype.F32, 6, 5), 4, 0) })
	refused(t, d, "no window", func(r *vk.Recorder) { AddPositions(r, y, table, 0, 0) })
	refused(t, d, "a negative start", func(r *vk.Recorder) { AddPositions(r, y, table, 4, -1) })
	refused(t, d, "16-bit y", func(r *vk.Recorder) { AddPositions(r, Of(y.View, dtype.F16, 4, 6), table, 4, 0) })
}
