package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// layernormBound is of layernorm.
var layernormBound = optest.Bound{Max: 5e-6, Why: "rmsnorm, and the roundings of a mean of 10 deviations"}

// The last row is normed once more, alone.
func layernormTable() optest.Table {
	return optest.Table{Op: "layernorm", Bound: layernormBound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, hidden int
			mean         float64 // in deviations
			dtype        dtype.DType
		}{{1, 1, 0, dtype.F32}, {1, 4096, 10, dtype.BF16}, {7, 120, -3, dtype.F16}, {3, 4097, 1, dtype.F32}, {2, 255, 10, dtype.BF16}, {5, 3, 0, dtype.F16}, {512, 384, 1, dtype.F32}} {
			x, w := random(c.rows, c.hidden), random(1, c.hidden)
			bias := block(random(1, c.hidden+1), 0, 1, 1, c.hidden+1)
			for i := range x.Data {
				x.Data[i] += c.mean
			}
			last := window(x, c.rows-1, 1)
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.hidden, c.mean, c.dtype), Of: c.dtype, Out: likes(x, last), InPlace: [][]int{{0, 1}}, Alone: []optest.Part{{Whole: 0, Part: 1, Row: c.rows - 1}},
				In: append(f32s(x, last), optest.Input{Mat: w, DType: c.dtype}, optest.Input{Mat: bias, DType: c.dtype}),
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					for i := range out {
						LayerNorm(r, Tensor(out[i]), Tensor(in[i]), Tensor(in[2]), Tensor(in[3]), 1e-5)
					}
				},
				Want: func(in []ref.Mat) []ref.Mat {
					w, bias := in[2].Data, in[3].Data
					return []ref.Mat{ref.LayerNorm(in[0], w, bias, 1e-5), ref.LayerNorm(in[1], w, bias, 1e-5)}
				},
				Measured: c.rows == 512,
			})
		}
		return cases
	}}
}

func TestLayerNorm(t *testing.T) { layernormTable().Test(t) }

func BenchmarkLayerNorm(b *testing.B) { layernormTable().Benchmark(b) }

func TestLayerNormShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, w := b.empty(dtype.F32, 4, 6), b.empty(dtype.F16, 1, 6)
	refused(t, d, "another shape", func(r *vk.Recorder) { LayerNorm(r, x.RowRange(0, 3), x, w, w, 0) })
	refused(t, d, "no bias", func(r *vk.Recorder) { LayerNorm(r, x, x, w, Tensor{}, 0) })
	refused(t, d, "a bias of another dtype", func(r *vk.Recorder) { LayerNorm(r, x, x, w, b.empty(dtype.F32, 1, 6), 0) })
	refused(t, d, "16-bit x", func(r *vk.Recorder) { LayerNorm(r, x, Of(x.View, dtype.F16, 4, 6), w, w, 0) })
}
