package op

import (
	"math"
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

func TestGradNorm(t *testing.T) {
	eachTierAndSplit(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			shapes [][2]int
			clip   float32
		}{
			{[][2]int{{1, 1}}, 0}, {[][2]int{{1, 3}, {7, 120}, {1, 1}}, 1}, {[][2]int{{1, 1024}, {1, 1025}, {1, 1023}, {3, 4097}}, 1000},
			{[][2]int{{513, 1031}, {1, 5}, {128, 384}}, 0.5}, {[][2]int{{1, 2}}, 1e30},
		} {
			b := newBench(t, d)
			var grads []ref.Mat
			for _, s := range c.shapes {
				grads = append(grads, random(s[0], s[1]))
			}
			got, _ := b.gradNorm(0.5, c.clip, grads...)
			norm, factor := ref.GradNorm(grads...), 1.0
			if c.clip > 0 {
				factor = min(1, float64(c.clip)/norm)
			}
			gradnormBound.Near(t, got[1:2], []float64{norm}, dtype.F32)
			gradnormBound.Near(t, got[2:3], []float64{factor}, dtype.F32)
			if got[0] != 0.5 || got[3] != 0 {
				t.Errorf("%v: loss %v, skipped %v", c.shapes, got[0], got[3])
			}
			again, _ := b.gradNorm(0.5, c.clip, grads...)
			same(t, "gradnorm once more", again[:4], got[:4])
		}
	})
}

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

func BenchmarkGradNorm(b *testing.B) {
	w := newBench(b, vktest.Open(b, vk.Options{}))
	g, control := w.upload(random(1024, 1024), dtype.F32), w.control(1)
	scratch := w.empty(dtype.F32, 1, GradNormScratch(g))
	w.measure(4, func() { GradNorm(w.r, control, scratch, 1, g) })
}
