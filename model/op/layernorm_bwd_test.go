package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// layernormBackwardBound is of layernorm_bwd.
var layernormBackwardBound = optest.Bound{Max: 5e-6, Why: "layernorm's mean, two more sums over the row, and a difference as in rmsnorm_bwd"}

func layernormBackwardTable() optest.Table {
	return normGradient{
		record: LayerNormBackward,
		backward: func(dy, x ref.Mat, w []float64) (dx, products ref.Mat) {
			return ref.LayerNormBackward(dy, x, w, normEps)
		},
		forward: func(x ref.Mat, w []float64) ref.Mat { return ref.LayerNorm(x, w, make([]float64, x.Cols), normEps) },
	}.table("layernorm_bwd", layernormBackwardBound)
}

func TestLayerNormBackward(t *testing.T) { layernormBackwardTable().Test(t) }

func BenchmarkLayerNormBackward(b *testing.B) { layernormBackwardTable().Benchmark(b) }

func TestLayerNormBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, y, w := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 4, 6), b.empty(dtype.F16, 1, 6)
	refused(t, d, "no result", func(r *vk.Recorder) { LayerNormBackward(r, Tensor{}, Tensor{}, x, x, w, Tensor{}, 1e-5) })
	refused(t, d, "another w", func(r *vk.Recorder) { LayerNormBackward(r, y, Tensor{}, x, x, x, Tensor{}, 1e-5) })
}
