package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// randomBound is of random.
var randomBound = optest.Bound{Max: 2e-7, Why: "two f32 roundings", Rounded: true}

func randomTable() optest.Table {
	return optest.Table{Op: "random", Bound: randomBound, Cases: func() (cases []optest.Case) {
		for _, s := range [][2]int{{1, 1}, {3, 37}, {120, 130}, {701, 1001}} {
			for _, dt := range dtype.All {
				cases = append(cases, optest.Case{
					Name: optest.Shape(s[0], s[1], dt), Of: dt, Out: []optest.Output{{DType: dt, Rows: s[0], Cols: s[1]}},
					Record: func(r *vk.Recorder, out, _ []optest.Tensor) { Random(r, Tensor(out[0]), 0xfffffff0, 0.25) },
					Want:   func([]ref.Mat) []ref.Mat { return one(ref.Random(s[0], s[1], 0xfffffff0, 0.25)) },
					Split:  s[0] == 701, Measured: s[0] == 701, Flops: 20 * float64(s[0]*s[1]),
				})
			}
		}
		return cases
	}}
}

func TestRandom(t *testing.T) { randomTable().Test(t) }

func BenchmarkRandom(b *testing.B) { randomTable().Benchmark(b) }

func TestRandomShapes(t *testing.T) {
	refused(t, vktest.Open(t, vk.Options{}), "nothing", func(r *vk.Recorder) { Random(r, Tensor{}, 1, 1) })
}
