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

// cosinelossBound is of cosineloss.
var cosinelossBound = optest.Bound{Max: 5e-6, Why: "blockinfluence's, and of gradients the roundings of a difference of directions 0.2 apart"}

var cosineLoss = rowLoss{"cosineloss", CosineLoss, ref.CosineLoss, nil}

func cosineLossTable() optest.Table {
	return optest.Table{Op: "cosineloss", Bound: cosinelossBound, Tiers: true, Benchmarks: cosineLoss.benchmarks(2048, 128, 10), Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, cols int
			noise      float64 // infinite: unrelated rows, half of them more than orthogonal
		}{{9, 2, math.Inf(1)}, {1, 4096, 1}, {7, 120, 0.3}, {3, 4097, 0.2}, {300, 1001, 0.5}, {257, 1028, math.Inf(1)}, {2, 70000, 1}} {
			y := random(c.rows, c.cols)
			yhat := turned(y, c.noise)
			if math.IsInf(c.noise, 1) {
				yhat = block(random(c.rows, c.cols+1), 0, c.rows, 1, c.cols+1)
			}
			cases = append(cases, cosineLoss.of(optest.Shape(c.rows, c.cols), yhat, y, float32(1/float64(c.rows))))
		}
		return cases
	}}
}

func TestCosineLoss(t *testing.T) { cosineLossTable().Test(t) }

func TestCosineLossRows(t *testing.T) { independentRows(t, cosineLossTable()) }

func BenchmarkCosineLoss(b *testing.B) { cosineLossTable().Benchmark(b) }

// Rows without a direction give 0, and rows close to another a loss as precise as others.
func TestCosineLossEdges(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	yhat := ref.Mat{Rows: 6, Cols: 4, Data: []float64{0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 1, inf, 0, 0, nan, 1, 0, 0, 1, 2, 3, 4}}
	y := ref.Mat{Rows: 6, Cols: 4, Data: []float64{1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, -1, -2, -3, -4}}
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		for _, cols := range []int{4, 3} { // with texel buffers, and without
			near, of := block(yhat, 0, yhat.Rows, 0, cols), block(y, 0, y.Rows, 0, cols)
			loss, grad := runLoss(b, cosineLoss.of("edges", near, of, 1), near, of)
			cosinelossBound.Near(t, loss, []float64{0, 0, 0, 0, 0, 2}, dtype.F32)
			for i, g := range grad {
				if !(math.Abs(float64(g)) < 1e-6) || i < 5*cols && g != 0 {
					t.Errorf("%d columns: gradient %d is %v", cols, i, g)
				}
			}
		}
		x := random(7, 120)
		near := turned(x, 0.01)
		loss, out := b.empty(dtype.F32, 1, 7), b.upload(near, dtype.F32)
		CosineLoss(b.r, loss, Tensor{}, out, b.upload(x, dtype.F32), 1)
		want, _ := ref.CosineLoss(near, x, 1)
		cosinelossBound.Near(t, b.download(loss), want, dtype.F32)
	})
}

func TestCosineLossShapes(t *testing.T) { refusedLosses(t, cosineLoss) }
