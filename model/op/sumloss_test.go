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

// sumlossBound is of sumloss.
var sumlossBound = optest.Bound{Max: 3e-7, Why: "compensated sums, and six roundings of those of 64 invocations"}

// sumLossTable adds to slot 1 of three once, or once more. The slots beside it stay.
func sumLossTable() optest.Table {
	of := func(n int, twice bool) optest.Case {
		loss := random(1, n)
		for i, v := range loss.Data {
			loss.Data[i] = 3 + v/4 // a sum without cancellation
		}
		return optest.Case{
			Name: fmt.Sprint(n, twice), In: f32s(loss), Out: []optest.Output{{Rows: 1, Cols: 3, Start: vector(1, 2, 3)}},
			Record: func(r *vk.Recorder, out, in []optest.Tensor) {
				SumLoss(r, Tensor(out[0]), 1, Tensor(in[0]), false)
				if twice {
					SumLoss(r, Tensor(out[0]), 1, Tensor(in[0]), true)
				}
			},
			Want: func(in []ref.Mat) []ref.Mat {
				want := kept(1, 3)
				want.Data[1] = 0
				for _, v := range in[0].Data {
					want.Data[1] += v
				}
				if twice {
					want.Data[1] *= 2
				}
				return one(want)
			},
			Measured: n > 1e5 && !twice, Flops: float64(n),
		}
	}
	return optest.Table{Op: "sumloss", Bound: sumlossBound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, n := range []int{1, 63, 65, 2048, 100_003} {
			cases = append(cases, of(n, false), of(n, true))
		}
		return cases
	}}
}

func TestSumLoss(t *testing.T) { sumLossTable().Test(t) }

func BenchmarkSumLoss(b *testing.B) { sumLossTable().Benchmark(b) }

func TestSumLossShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	total, loss := b.empty(dtype.F32, 1, 8), b.empty(dtype.F32, 1, 4)
	refused(t, d, "no such slot", func(r *vk.Recorder) { SumLoss(r, total, 8, loss, false) })
	refused(t, d, "negative slot", func(r *vk.Recorder) { SumLoss(r, total, -1, loss, false) })
	refused(t, d, "a matrix", func(r *vk.Recorder) { SumLoss(r, total, 0, loss.Reshape(2, 2), false) })
	refused(t, d, "16-bit losses", func(r *vk.Recorder) { SumLoss(r, total, 0, Of(loss.View, dtype.F16, 1, 8), false) })
	refused(t, d, "no losses", func(r *vk.Recorder) { SumLoss(r, total, 0, Tensor{}, false) })
}
