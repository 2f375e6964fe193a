package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
)

func softcapBackwardTable() optest.Table {
	return optest.Table{Op: "softcap_bwd", Bound: optest.Bound{Max: 1e-6, Why: "a division (2.5 ulp), and 1 − t² by its factors"}, Cases: func() (cases []optest.Case) {
		for _, c := range softcapSizes {
			x := random(c.rows, c.cols)
			y, dy := c.want(x), block(random(c.rows, c.cols+1), 0, c.rows, 1, c.cols+1)
			this := optest.Case{
				Name: optest.Shape(c.rows, c.cols, c.Logits), In: f32s(dy, y, x), Out: likes(x), InPlace: [][]int{{0}, {1}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					SoftCapBackward(r, Tensor(out[0]), Tensor(in[0]), Tensor(in[1]), c.Logits)
				},
				Want: func(in []ref.Mat) []ref.Mat {
					return one(ref.SoftCapBackward(in[0], in[1], float64(c.scale()), float64(c.Cap)))
				},
				Large: c.rows > 1000, Measured: c.rows == 2048,
			}
			if len(x.Data) <= mostDifferenced {
				this.Gradient = &optest.Gradient{DY: 0, By: []int{2}, Forward: func(in []ref.Mat) ref.Mat { return c.want(in[2]) }}
			}
			cases = append(cases, this)
		}
		return cases
	}}
}

func TestSoftCapBackward(t *testing.T) { softcapBackwardTable().Test(t) }

func BenchmarkSoftCapBackward(b *testing.B) { softcapBackwardTable().Benchmark(b) }
