package op

import (
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// sumlossBound is of sumloss.
var sumlossBound = optest.Bound{Max: 3e-7, Why: "compensated sums, and six roundings of those of 64 invocations"}

func TestSumLoss(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, n := range []int{1, 63, 65, 2048, 100_003} {
			b := newBench(t, d)
			loss := random(1, n)
			for i, v := range loss.Data {
				loss.Data[i] = 3 + v/4 // a sum without cancellation
			}
			dl, total := b.upload(loss, dtype.F32), b.words([]uint32{1, 2, 3})
			SumLoss(b.r, total, 1, dl, false)
			want := 0.0
			for _, v := range loss.Data {
				want += v
			}
			got := b.download(total)
			sumlossBound.Near(t, got[1:2], []float64{want}, dtype.F32)
			SumLoss(b.r, total, 1, dl, true)
			twice := b.download(total)
			sumlossBound.Near(t, twice[1:2], []float64{2 * want}, dtype.F32)
			if got[1] = twice[1]; !slices.Equal(got, twice) {
				t.Errorf("%d losses: slots beside it changed", n)
			}
		}
	})
}

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
