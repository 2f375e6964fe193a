package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Nothing is computed, so equality is exact. y is what ReLU read or what it wrote: of the latter the case is in place.
func reluBackwardTable() optest.Table {
	return optest.Table{Op: "relu_bwd", Cases: func() (cases []optest.Case) {
		for _, c := range []struct{ rows, cols int }{{1, 1}, {1, 3}, {7, 127}, {3, 1408}, {1001, 703}, {2048, 384}} {
			x, dy := random(c.rows, c.cols), block(random(c.rows, c.cols+1), 0, c.rows, 1, c.cols+1)
			x.Data[0] = 0 // on the edge
			for what, y := range map[string]ref.Mat{"input": x, "output": ref.ReLU(x)} {
				one := optest.Case{
					Name: optest.Shape(c.rows, c.cols, what), In: f32s(dy, y), Out: likes(y), InPlace: [][]int{{0}, {1}},
					Record: func(r *vk.Recorder, out, in []optest.Tensor) {
						ReLUBackward(r, Tensor(out[0]), Tensor(in[0]), Tensor(in[1]))
					},
					Want:  func(in []ref.Mat) []ref.Mat { return []ref.Mat{ref.ReLUBackward(in[0], in[1])} },
					Large: c.rows > 1000, Measured: c.rows == 2048 && what == "input",
				}
				if !one.Large {
					before := block(x, 0, c.rows, 0, c.cols)
					before.Data[0] = -1 // on the edge there is no difference, and the gradient is that of its left
					one.In = append(one.In, f32s(before)...)
					one.Gradient = &optest.Gradient{Forward: func(in []ref.Mat) ref.Mat { return ref.ReLU(in[2]) }, DY: 0, By: []int{2}}
				}
				cases = append(cases, one)
			}
		}
		return cases
	}}
}

func TestReLUBackward(t *testing.T) { reluBackwardTable().Test(t) }

func BenchmarkReLUBackward(b *testing.B) { reluBackwardTable().Benchmark(b) }

func TestReLUBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x := b.empty(dtype.F32, 4, 6)
	refused(t, d, "another shape", func(r *vk.Recorder) { ReLUBackward(r, x, x, x.RowRange(0, 3)) })
	refused(t, d, "16-bit y", func(r *vk.Recorder) { ReLUBackward(r, x, x, Of(x.View, dtype.BF16, 4, 6)) })
}
