package op

import (
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestCrossEntropyBackward(t *testing.T) {
	eachTierAndSplit(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			rows, cols int
			size       float64 // of the logits
		}{{1, 1, 1}, {3, 1999, 1}, {7, 48, 5}, {70, 130, 30}, {300, 1001, 3}, {257, 1040, 3}, {9, 640, 300}, {2, 152_000, 0.1}, {2, 70_001, 1}} {
			b := newBench(t, d)
			logits := random(c.rows, c.cols)
			for i := range logits.Data {
				logits.Data[i] *= c.size
			}
			words, targets := someTargets(c.rows, c.cols)
			scale := float32(1 / float64(c.rows))
			dx, dt := b.upload(logits, dtype.F32), b.words(words)
			alone, loss, grad := b.empty(dtype.F32, 1, c.rows), b.empty(dtype.F32, 1, c.rows), b.empty(dtype.F32, c.rows, c.cols)
			CrossEntropyBackward(b.r, alone, Tensor{}, dx, dt, scale)
			CrossEntropyBackward(b.r, loss, grad, dx, dt, scale)
			wantLoss, wantGrad := ref.CrossEntropyBackward(logits, targets, float64(scale))
			gotLoss, gotGrad := b.download(loss), b.download(grad)
			crossentropyBound.Near(t, gotLoss, wantLoss, dtype.F32)
			crossentropyBound.Near(t, gotGrad, wantGrad.Data, dtype.F32)
			same(t, "loss without a gradient", b.download(alone), gotLoss)
			for row, target := range targets {
				if target < 0 && (gotLoss[row] != 0 || gotGrad[row*c.cols] != 0 || gotGrad[(row+1)*c.cols-1] != 0) {
					t.Errorf("%d of %d rows: unscored has a loss of %v, gradient %v", row, c.rows, gotLoss[row], gotGrad[row*c.cols])
				}
			}
			CrossEntropyBackward(b.r, loss, dx, dx, dt, scale)
			same(t, "loss in place", b.download(loss), gotLoss)
			same(t, "gradient in place", b.download(dx), gotGrad)
		}
	})
}

// An unscored row may be anything, and a target beyond the vocabulary has no probability.
func TestCrossEntropyBackwardEdges(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, cols := range []int{16, 17} {
			b := newBench(t, d)
			logits := random(3, cols)
			logits.Row(1)[2] = math.NaN()
			loss, grad := b.empty(dtype.F32, 1, 3), b.empty(dtype.F32, 3, cols)
			CrossEntropyBackward(b.r, loss, grad, b.upload(logits, dtype.F32), b.words([]uint32{1, math.MaxUint32, uint32(cols)}), 1)
			for i, v := range b.download(grad)[cols : 2*cols] {
				if v != 0 {
					t.Errorf("gradient %d of an unscored row is %v", i, v)
				}
			}
			if got := b.download(loss); got[1] != 0 || !math.IsInf(float64(got[2]), 1) || !(got[0] > 0) {
				t.Errorf("losses %v, want one, 0 and +Inf", got)
			}
		}
	})
}

func TestCrossEntropyBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, loss, targets := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 1, 4), b.words(make([]uint32, 4))
	refused(t, d, "other rows", func(r *vk.Recorder) { CrossEntropyBackward(r, loss, x, x, b.words(make([]uint32, 3)), 1) })
	refused(t, d, "a loss too many", func(r *vk.Recorder) { CrossEntropyBackward(r, b.empty(dtype.F32, 1, 5), x, x, targets, 1) })
	refused(t, d, "16-bit logits", func(r *vk.Recorder) { CrossEntropyBackward(r, loss, x, Of(x.View, dtype.F16, 4, 6), targets, 1) })
	refused(t, d, "absent logits", func(r *vk.Recorder) { CrossEntropyBackward(r, loss, Tensor{}, Tensor{}, Tensor{}, 1) })
}

func BenchmarkCrossEntropyBackward(b *testing.B) {
	w := newBench(b, vktest.Open(b, vk.Options{}))
	x := w.upload(random(512, 8192), dtype.F32)
	loss, grad, targets := w.empty(dtype.F32, 1, 512), w.empty(dtype.F32, 512, 8192), w.words(make([]uint32, 512))
	w.measure(1, func() { CrossEntropyBackward(w.r, loss, grad, x, targets, 1) })
}
