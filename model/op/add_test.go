package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// addBound is of add.
var addBound = optest.Bound{Max: 1e-7, Why: "one f32 rounding"}

func addTable() optest.Table {
	return optest.Table{Op: "add", Bound: addBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct{ rows, cols int }{{1, 1}, {1, 3}, {7, 120}, {3, 1999}, {1, 4096}, {1001, 703}, {2048, 384}} {
			a, z := random(c.rows, c.cols), block(random(c.rows, c.cols+1), 0, c.rows, 1, c.cols+1)
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.cols), In: f32s(a, z), Out: likes(a), InPlace: [][]int{{0}, {1}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) { Add(r, Tensor(out[0]), Tensor(in[0]), Tensor(in[1])) },
				Want:   func(in []ref.Mat) []ref.Mat { return []ref.Mat{ref.Add(in[0], in[1])} },
				Large:  c.rows > 1000, Measured: c.rows == 2048,
			})
		}
		return cases
	}}
}

func TestAdd(t *testing.T) { addTable().Test(t) }

func BenchmarkAdd(b *testing.B) { addTable().Benchmark(b) }

func TestAddShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x := b.empty(dtype.F32, 4, 6)
	refused(t, d, "another shape", func(r *vk.Recorder) { Add(r, x, x, x.Reshape(6, 4)) })
	refused(t, d, "16-bit sum", func(r *vk.Recorder) { Add(r, Of(x.View, dtype.F16, 4, 6), x, x) })
	refused(t, d, "absent tensors", func(r *vk.Recorder) { Add(r, Tensor{}, Tensor{}, Tensor{}) })
}
