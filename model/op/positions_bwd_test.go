package op

import (
	"fmt"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// positionsBackwardShape is of a case, of positions_bwd.
type positionsBackwardShape struct {
	rows, hidden, window, start, positions int
	large                                  bool // beyond 1 MiB
}

var positionsBackwardShapes = []positionsBackwardShape{
	{1, 1, 1, 0, 1, false}, {7, 120, 7, 5, 12, false}, {15, 65, 5, 2, 9, false}, {3, 33, 9, 1, 4, false}, {17, 3, 5, 0, 5, false},
	{40000, 2, 1, 3, 5, false},
	{1403, 501, 100, 2, 102, true}, // dy
	{1450, 401, 700, 2, 702, true}, // both
}

func (c positionsBackwardShape) of() optest.Case {
	dy, table, at := random(c.rows, c.hidden), random(c.positions, c.hidden), positionsOf(c.rows, c.window, c.start)
	one := optest.Case{
		Name: fmt.Sprint(c), In: f32s(dy), Out: []optest.Output{{Rows: c.positions, Cols: c.hidden, Start: table, Exact: true}},
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			PositionsBackward(r, Tensor(out[0]), Tensor(in[0]), c.window, c.start)
		},
		Want:  func(in []ref.Mat) []ref.Mat { return one(sequential(table, in[0], at)) },
		Large: c.large, Measured: c.rows == 1450, Flops: float64(len(dy.Data)),
	}
	if !one.Large {
		one.In = append(one.In, f32s(table)...)
		x := ref.NewMat(c.rows, c.hidden)
		one.Gradient = &optest.Gradient{DY: -1, By: []int{1}, Forward: func(in []ref.Mat) ref.Mat {
			return vector(dot(in[0], ref.AddPositions(x, in[1], at)) + dot(table, in[1])) // the second has the gradient that is there before
		}}
	}
	return one
}

// The bits are those of f32 in the order of the rows.
func positionsBackwardTable() optest.Table {
	return optest.Table{Op: "positions_bwd", Bound: embeddingBackwardBound, Cases: func() (cases []optest.Case) {
		for _, c := range positionsBackwardShapes {
			cases = append(cases, c.of())
		}
		return cases
	}}
}

func TestPositionsBackward(t *testing.T) { positionsBackwardTable().Test(t) }

func BenchmarkPositionsBackward(b *testing.B) { positionsBackwardTable().Benchmark(b) }

// Those bits are near the sums of the reference.
func TestPositionsBackwardSequential(t *testing.T) {
	for _, c := range positionsBackwardShapes {
		nearSequential(t, random(c.positions, c.hidden), random(c.rows, c.hidden), positionsOf(c.rows, c.window, c.start))
	}
}

func TestPositionsBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	table, dy := b.empty(dtype.F32, 6, 6), b.empty(dtype.F32, 4, 6)
	refused(t, d, "positions past the table", func(r *vk.Recorder) { PositionsBackward(r, table, dy, 4, 3) })
	refused(t, d, "another width", func(r *vk.Recorder) { PositionsBackward(r, b.empty(dtype.F32, 6, 5), dy, 4, 0) })
	refused(t, d, "no window", func(r *vk.Recorder) { PositionsBackward(r, table, dy, 0, 0) })
	refused(t, d, "a negative start", func(r *vk.Recorder) { PositionsBackward(r, table, dy, 4, -1) })
	refused(t, d, "16-bit dy", func(r *vk.Recorder) { PositionsBackward(r, table, Of(dy.View, dtype.F16, 4, 6), 4, 0) })
}
