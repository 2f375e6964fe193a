package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// choices are experts that rows choose, each of a row another one.
func choices(rows, chosen, experts int) ref.Mat {
	choice, _, _ := ref.Route(random(rows, experts), chosen, false)
	return choice
}

func groupTable() optest.Table {
	return optest.Table{Op: "group", Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct{ rows, chosen, experts int }{{1, 1, 1}, {1, 2, 8}, {1, 8, 128}, {7, 3, 5}, {301, 8, 128}, {65, 2, 8}, {2000, 1, 3}, {3, 2, 1024}} {
			choice := choices(c.rows, c.chosen, c.experts)
			n := c.rows * c.chosen
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.chosen, c.experts), In: []optest.Input{{Mat: choice, Words: true}},
				Out: []optest.Output{{Rows: 1, Cols: c.experts + 1, Words: true}, {Rows: c.rows, Cols: c.chosen, Words: true}, {Rows: 1, Cols: n, Words: true}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					Group(r, Tensor(out[0]), Tensor(out[1]), Tensor(out[2]), Tensor(in[0]))
				},
				Want: func(in []ref.Mat) []ref.Mat {
					offsets, place, row := ref.Group(in[0], c.experts)
					return []ref.Mat{offsets, place, row}
				},
				Measured: n > 2000,
			})
		}
		return cases
	}}
}

func TestGroup(t *testing.T) { groupTable().Test(t) }

func BenchmarkGroup(b *testing.B) { groupTable().Benchmark(b) }

func TestGroupShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	choice, place, row, offsets := b.empty(dtype.F32, 3, 2), b.empty(dtype.F32, 3, 2), b.empty(dtype.F32, 1, 6), b.empty(dtype.F32, 1, 5)
	refused(t, d, "other places", func(r *vk.Recorder) { Group(r, offsets, place.Reshape(2, 3), row, choice) })
	refused(t, d, "other rows", func(r *vk.Recorder) { Group(r, offsets, place, offsets, choice) })
	refused(t, d, "no experts", func(r *vk.Recorder) { Group(r, row.Reshape(6, 1), place, row, choice) })
	refused(t, d, "nothing", func(r *vk.Recorder) { Group(r, offsets, Tensor{}, Tensor{}, Tensor{}) })
}
