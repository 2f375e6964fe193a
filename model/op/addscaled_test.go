package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
)

func addscaledTable() optest.Table {
	return optest.Table{Op: "addscaled", Bound: optest.Bound{Max: 2e-7, Why: "two f32 roundings"}, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, cols int
			scale      float32
		}{{1, 1, 0.5}, {1, 3, 0.22}, {7, 127, -2}, {3, 1408, 1.75}, {1001, 703, 0.1}, {2048, 384, 3}} {
			x, residual := random(c.rows, c.cols), block(random(c.rows, c.cols+1), 0, c.rows, 1, c.cols+1)
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.cols, c.scale), In: f32s(x, residual), Out: likes(x), InPlace: [][]int{{0}, {1}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					AddScaled(r, Tensor(out[0]), Tensor(in[0]), Tensor(in[1]), c.scale)
				},
				Want:  func(in []ref.Mat) []ref.Mat { return one(ref.Add(ref.Scale(in[0], float64(c.scale)), in[1])) },
				Large: c.rows > 1000, Measured: c.rows == 2048,
			})
		}
		return cases
	}}
}

func TestAddScaled(t *testing.T) { addscaledTable().Test(t) }

func BenchmarkAddScaled(b *testing.B) { addscaledTable().Benchmark(b) }
