package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func combineTable() optest.Table {
	bound := optest.Bound{Max: 1e-6, Why: "a rounding for each product and each of up to 64 sums"}
	return optest.Table{Op: "combine", Bound: bound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct{ rows, cols, chosen, experts int }{{1, 1, 1, 1}, {1, 120, 2, 8}, {7, 65, 3, 5}, {70, 131, 8, 64}, {2, 40, 64, 64}} {
			_, place, _ := ref.Group(choices(c.rows, c.chosen, c.experts), c.experts)
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.cols, c.chosen),
				In: []optest.Input{{Mat: random(c.rows*c.chosen, c.cols)}, {Mat: random(c.rows, c.chosen)}, {Mat: place, Words: true},
					{Mat: block(random(c.rows+1, c.cols), 1, c.rows+1, 0, c.cols)}},
				Out: likes(ref.NewMat(c.rows, c.cols)),
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					Combine(r, Tensor(out[0]), Tensor(in[0]), Tensor(in[1]), Tensor(in[2]), Tensor(in[3]))
				},
				Want:    func(in []ref.Mat) []ref.Mat { return one(ref.Combine(in[0], in[1], in[2], in[3])) },
				InPlace: [][]int{{3}},
			})
		}
		return cases
	}}
}

func TestCombine(t *testing.T) { combineTable().Test(t) }

func TestCombineShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	y, x, share := b.empty(dtype.F32, 3, 4), b.empty(dtype.F32, 6, 4), b.empty(dtype.F32, 3, 2)
	refused(t, d, "other columns", func(r *vk.Recorder) { Combine(r, y, x.Reshape(8, 3), share, share, y) })
	refused(t, d, "other places", func(r *vk.Recorder) { Combine(r, y, x, share, share.Reshape(2, 3), y) })
	refused(t, d, "another residual", func(r *vk.Recorder) { Combine(r, y, x, share, share, x) })
	refused(t, d, "nothing", func(r *vk.Recorder) { Combine(r, y, Tensor{}, Tensor{}, Tensor{}, y) })
}
