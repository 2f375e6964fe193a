package op

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// gradnormBound is of gradnorm.
var gradnormBound = optest.Bound{Max: 1e-6, Why: "half the error of sums of squares by blocks"}

// control is the tensor of a step with this loss, all else NaN.
func (b *bench) control(loss float64) Tensor {
	words := make([]uint32, ControlWords)
	for i := range words {
		words[i] = math.MaxUint32
	}
	words[0] = math.Float32bits(float32(loss))
	return b.words(words)
}

// gradNorm is what GradNorm makes of gradients: norm, factor, and why the step is skipped.
func (b *bench) gradNorm(loss float64, clip float32, grads ...ref.Mat) (got []float32, control Tensor) {
	control = b.control(loss)
	var dg []Tensor
	for _, g := range grads {
		dg = append(dg, b.upload(g, dtype.F32))
	}
	GradNorm(b.r, control, b.empty(dtype.F32, 1, GradNormScratch(dg...)), clip, dg...)
	return b.download(control), control
}

// gradNormCase has the control tensor for its result: a loss of 0.5, what is written, and words that stay.
func gradNormCase(clip float32, shapes ...[2]int) optest.Case {
	var grads []ref.Mat
	var like []Tensor
	work := 0
	for _, s := range shapes {
		grads, like = append(grads, random(s[0], s[1])), append(like, Tensor{Rows: s[0], Cols: s[1]})
		work += 2 * s[0] * s[1]
	}
	nan := math.NaN()
	return optest.Case{
		Name: fmt.Sprint(shapes, clip), In: f32s(grads...), Out: []optest.Output{{Rows: 1, Cols: ControlWords, Start: vector(0.5, nan, nan, nan, 4, 5, 6, 7)}},
		Extra: scratch(1, GradNormScratch(like...)), InPlace: [][]int{{-1}}, // once more
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			GradNorm(r, Tensor(out[0]), Tensor(out[1]), clip, tensors(in)...)
		},
		Check: func(t testing.TB, got [][]float32, in []ref.Mat) {
			norm, factor, control := ref.GradNorm(in...), 1.0, got[0]
			if clip > 0 {
				factor = min(1, float64(clip)/norm)
			}
			gradnormBound.Near(t, control[1:2], []float64{norm}, dtype.F32)
			gradnormBound.Near(t, control[2:3], []float64{factor}, dtype.F32)
			if control[0] != 0.5 || control[3] != 0 || !slices.Equal(control[4:], []float32{4, 5, 6, 7}) {
				t.Errorf("control %v, want a loss of 0.5, not skipped, and 4 to 7 as they were", control)
			}
		},
		Large: work > 1<<19, Flops: float64(work),
	}
}

func gradNormTable() optest.Table {
	return optest.Table{Op: "gradnorm", Bound: gradnormBound, Tiers: true, Cases: func() []optest.Case {
		return []optest.Case{
			gradNormCase(0, [2]int{1, 1}), gradNormCase(1, [2]int{1, 3}, [2]int{7, 120}, [2]int{1, 1}),
			gradNormCase(1000, [2]int{1, 1024}, [2]int{1, 1025}, [2]int{1, 1023}, [2]int{3, 4097}),
			gradNormCase(0.5, [2]int{513, 1031}, [2]int{1, 5}, [2]int{128, 384}), gradNormCase(1e30, [2]int{1, 2}),
		}
	}, Benchmarks: func() []optest.Case { return []optest.Case{gradNormCase(1, [2]int{1024, 1024})} }}
}

func TestGradNorm(t *testing.T) { gradNormTable().Test(t) }

func BenchmarkGradNorm(b *testing.B) { gradNormTable().Benchmark(b) }

func TestGradNormSkips(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	with := func(v float64) ref.Mat {
		g := random(7, 300)
		g.Data[2099] = v
		return g
	}
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			name string
			loss float64
			last ref.Mat
			skip float32
		}{
			{"all well", 1, with(2), 0}, {"loss NaN", nan, with(2), 1}, {"loss infinite", inf, with(2), 1}, {"loss −∞", -inf, with(2), 1},
			{"NaN", 1, with(nan), 1}, {"infinity", 1, with(inf), 1}, {"−∞", 1, with(-inf), 1}, {"overflow", 1, with(1e30), 1},
		} {
			b := newBench(t, d)
			for _, clip := range []float32{0, 1} {
				got, _ := b.gradNorm(c.loss, clip, random(3, 5), c.last)
				if got[3] != c.skip || (got[2] == 0) != (c.skip != 0) {
					t.Errorf("%s, clip %v: factor %v, skipped %v, want %v", c.name, clip, got[2], got[3], c.skip)
				}
			}
		}
		b := newBench(t, d)
		for _, clip := range []float32{0, 1} {
			if got, _ := b.gradNorm(0, clip, ref.NewMat(3, 5), ref.NewMat(9, 130)); got[1] != 0 || got[2] != 0 || got[3] != 2 {
				t.Errorf("all zero, clip %v: norm %v, factor %v, skipped %v, want 2", clip, got[1], got[2], got[3])
			}
		}
	})
}

func TestGradNormShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	control, scratch, g := b.empty(dtype.F32, 1, 8), b.empty(dtype.F32, 1, 2), b.empty(dtype.F32, 4, 300)
	refused(t, d, "no gradient", func(r *vk.Recorder) { GradNorm(r, control, scratch, 1) })
	refused(t, d, "an absent gradient", func(r *vk.Recorder) { GradNorm(r, control, scratch, 1, g, Tensor{}) })
	refused(t, d, "small scratch", func(r *vk.Recorder) { GradNorm(r, control, scratch, 1, g, g) })
	refused(t, d, "small control", func(r *vk.Recorder) { GradNorm(r, scratch, scratch, 1, g) })
	refused(t, d, "16-bit gradient", func(r *vk.Recorder) { GradNorm(r, control, scratch, 1, Of(g.View, dtype.BF16, 4, 300)) })
	refused(t, d, "negative clip", func(r *vk.Recorder) { GradNorm(r, control, scratch, -1, g) })
}
