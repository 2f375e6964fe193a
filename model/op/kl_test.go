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

// klBound is of kl.
var klBound = optest.Bound{Max: 1e-5, Why: "exp of f32 (3 + 2|x| ulp in Vulkan), twice, and a reciprocal; log within 2^-21"}

func klLoss(tau float32) rowLoss {
	return rowLoss{
		name: "kl",
		record: func(r *vk.Recorder, loss, grad, yhat, y Tensor, scale float32) {
			KLDivergence(r, loss, grad, yhat, y, scale, tau)
		},
		ref: func(yhat, y ref.Mat, scale float64) ([]float64, ref.Mat) {
			return ref.KLDivergence(yhat, y, scale, float64(tau))
		},
		base: func(y ref.Mat, scale float64) (p []float64) {
			for t := range y.Rows {
				sum := 0.0
				for _, v := range y.Row(t) {
					sum += math.Exp(v / float64(tau))
				}
				for _, v := range y.Row(t) {
					p = append(p, scale*float64(tau)*math.Exp(v/float64(tau))/sum)
				}
			}
			return p
		},
	}
}

func klTable() optest.Table {
	return optest.Table{Op: "kl", Bound: klBound, Tiers: true, Benchmarks: klLoss(2).benchmarks(2048, 2048, 20), Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, cols int
			noise      float64 // between y and ŷ
			size       float64 // of y
			tau        float32
		}{
			{9, 2, 1, 1, 1}, {1, 4096, 1, 1, 2}, {7, 48, 0.01, 1, 1}, {3, 4097, 3, 1, 0.5}, {300, 1001, 0.1, 3, 1}, {257, 1040, 0.1, 3, 4},
			{5, 640, 0.001, 1, 1}, {3, 129, 20, 30, 1}, {17, 640, 20, 30, 1}, {2, 70000, 1, 5, 2}, {2, 70001, 1, 5, 2},
		} {
			y, yhat, noise := random(c.rows, c.cols), ref.NewMat(c.rows, c.cols), random(c.rows+1, c.cols)
			for i := range y.Data {
				y.Data[i] = y.Data[i]*c.size + 2
				yhat.Data[i] = y.Data[i] + c.noise*noise.Data[i] + 0.25
			}
			cases = append(cases, klLoss(c.tau).of(optest.Shape(c.rows, c.cols, c.noise, c.tau), yhat, y, float32(1/float64(c.rows))))
		}
		// Distributions with no weight in common: what is infinite in q but for the shift, and what underflows in p, is finite here.
		y, yhat := ref.NewMat(2, 16), ref.NewMat(2, 16)
		y.Data[0], yhat.Data[1], y.Data[16], yhat.Data[31] = 500, 500, 600, -1000
		return append(cases, klLoss(1).of("far", yhat, y, 1))
	}}
}

func TestKLDivergence(t *testing.T) { klTable().Test(t) }

func TestKLDivergenceRows(t *testing.T) { independentRows(t, klTable()) }

func BenchmarkKLDivergence(b *testing.B) { klTable().Benchmark(b) }

func TestKLDivergenceRefuses(t *testing.T) {
	refusedLosses(t, klLoss(1))
	b := newBench(t, vktest.Open(t, vk.Options{}))
	x, loss := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 1, 4)
	if KLDivergence(b.r, loss, x, x, x, 1, 0); b.r.Err() == nil {
		t.Error("a temperature of 0: no error")
	}
}
