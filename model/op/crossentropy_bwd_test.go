package op

import (
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func crossEntropyBackwardTable() optest.Table {
	of := func(rows, cols int, size float64) optest.Case {
		logits := random(rows, cols)
		for i := range logits.Data {
			logits.Data[i] *= size
		}
		_, targets := someTargets(rows, cols)
		scale := float32(1 / float64(rows))
		loss := func(in []ref.Mat) ([]float64, ref.Mat) {
			return ref.CrossEntropyBackward(in[0], targets, float64(scale))
		}
		one := optest.Case{
			Name: optest.Shape(rows, cols, size), In: append(f32s(logits), integers(targets...)), Out: likes(ref.Mat{Rows: 1, Cols: rows}, logits),
			InPlace: [][]int{{-1, optest.Absent}, {-1, 0}},
			Record: func(r *vk.Recorder, out, in []optest.Tensor) {
				CrossEntropyBackward(r, Tensor(out[0]), Tensor(out[1]), Tensor(in[0]), Tensor(in[1]), scale)
			},
			Want: func(in []ref.Mat) []ref.Mat {
				losses, grad := loss(in)
				return []ref.Mat{vector(losses...), grad}
			},
			Large: rows*cols > 1<<18, Flops: 10 * float64(rows*cols),
		}
		if rows*cols <= mostDifferenced {
			one.Gradient = &optest.Gradient{DY: -1, By: []int{-1, 0}, Forward: func(in []ref.Mat) ref.Mat {
				losses, _ := loss(in)
				return vector(losses...)
			}}
		}
		return one
	}
	return optest.Table{Op: "crossentropy_bwd", Bound: crossentropyBound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, cols int
			size       float64 // of the logits
		}{{1, 1, 1}, {3, 1999, 1}, {7, 48, 5}, {70, 130, 30}, {300, 1001, 3}, {257, 1040, 3}, {9, 640, 300}, {2, 152_000, 0.1}, {2, 70_001, 1}} {
			cases = append(cases, of(c.rows, c.cols, c.size))
		}
		return cases
	}, Benchmarks: func() []optest.Case { return []optest.Case{of(512, 8192, 1)} }}
}

func TestCrossEntropyBackward(t *testing.T) { crossEntropyBackwardTable().Test(t) }

func BenchmarkCrossEntropyBackward(b *testing.B) { crossEntropyBackwardTable().Benchmark(b) }

// A row without a target has a loss and a gradient of 0 to the bit, at the sizes of the table.
func TestCrossEntropyBackwardUnscored(t *testing.T) {
	cases := crossEntropyBackwardTable().Cases()
	eachTierAndSplit(t, func(t *testing.T, d *vk.Device) {
		for _, c := range cases {
			b, x := newBench(t, d), c.In[0].Mat
			words, targets := someTargets(x.Rows, x.Cols)
			if x.Rows < 5 {
				continue // all are scored
			}
			loss, grad := b.empty(dtype.F32, 1, x.Rows), b.empty(dtype.F32, x.Rows, x.Cols)
			CrossEntropyBackward(b.r, loss, grad, b.upload(x, dtype.F32), b.words(words), 1)
			losses, gradients := b.download(loss), b.download(grad)
			for row, target := range targets {
				if g := gradients[row*x.Cols : (row+1)*x.Cols]; target < 0 && (losses[row] != 0 || slices.ContainsFunc(g, func(v float32) bool { return v != 0 })) {
					t.Errorf("%s: unscored row %d has a loss of %v, gradient %v…", c.Name, row, losses[row], g[0])
				}
			}
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
