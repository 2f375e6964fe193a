package ref

import (
	"math"
	"testing"
)

// lossGradient compares a gradient with central finite differences of the sum of the losses.
func lossGradient(t *testing.T, what string, x Mat, f func(x Mat) (loss []float64, grad Mat)) {
	t.Helper()
	const h = 1e-5
	sum := func() (s float64) {
		loss, _ := f(x)
		for _, v := range loss {
			s += v
		}
		return s
	}
	_, grad := f(x)
	most := 0.0
	for _, g := range grad.Data {
		most = max(most, math.Abs(g))
	}
	for i, v := range x.Data {
		x.Data[i] = v + h
		above := sum()
		x.Data[i] = v - h
		below := sum()
		x.Data[i] = v
		if d := (above - below) / (2 * h); math.Abs(d-grad.Data[i]) > 1e-6*most || most == 0 {
			t.Errorf("%s: gradient %d is %v, differences give %v", what, i, grad.Data[i], d)
		}
	}
}

func TestLosses(t *testing.T) {
	y, yhat := random(5, 7), Mat{5, 7, random(6, 7).Data[:35]}
	loss, _ := MSE(rows([]float64{1, 5}, []float64{0, 0}), rows([]float64{2, 2}, []float64{0, 3}), 0.5)
	equal(t, "mse", loss, []float64{5, 4.5})
	lossGradient(t, "mse", yhat, func(x Mat) ([]float64, Mat) { return MSE(x, y, 0.3) })

	loss, _ = CosineLoss(rows([]float64{3, 4}, []float64{0, 0}, []float64{-1, 0}), rows([]float64{0, 2}, []float64{1, 2}, []float64{5, 0}), 10)
	equal(t, "cosineloss", loss, []float64{2, 0, 20})
	lossGradient(t, "cosineloss", yhat, func(x Mat) ([]float64, Mat) { return CosineLoss(x, y, 0.3) })

	// p = (1/2, 1/2), q = (3/4, 1/4): KL = log(4/3)/2.
	loss, _ = KLDivergence(rows([]float64{2 * math.Log(3), 0}), rows([]float64{7, 7}), 5, 2)
	equal(t, "kl", loss, []float64{5 * 4 * math.Log(4.0/3) / 2})
	lossGradient(t, "kl", yhat, func(x Mat) ([]float64, Mat) { return KLDivergence(x, y, 0.3, 1.7) })

	targets := []int{6, 0, -1, 3, 3}
	loss, _ = CrossEntropyBackward(rows([]float64{0, math.Log(3)}, []float64{1, 2}), []int{1, -1}, 3)
	equal(t, "crossentropy", loss, []float64{3 * math.Log(4.0/3), 0})
	lossGradient(t, "crossentropy", yhat, func(x Mat) ([]float64, Mat) { return CrossEntropyBackward(x, targets, 0.3) })
}

// The first step is of size LR in the direction of the sign, whatever the gradient's size; the second by hand.
func TestAdamW(t *testing.T) {
	a := AdamW{LR: 0.1, Beta1: 0.5, Beta2: 0.75, Decay: 0.2}
	w := []float64{1, 1}
	a.Update(w, []float64{3, -1e-3})
	equal(t, "first step", w, []float64{1 - 0.1*(1+0.2), 1 - 0.1*(-1+0.2)})
	// m = 1.5/2, over 1 − 0.25; v = 0.75·2.25, over 1 − 0.5625
	before := w[0]
	a.Update(w, []float64{0, 0})
	equal(t, "second step", w[:1], []float64{before - 0.1*(1/math.Sqrt(0.75*2.25/0.4375)+0.2*before)})
}

func TestGradNorm(t *testing.T) {
	equal(t, "gradnorm", []float64{GradNorm(rows([]float64{1, 2}), rows([]float64{4}, []float64{-2}))}, []float64{5})
}
