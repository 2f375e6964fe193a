package ref

import "math"

// CrossEntropyBackward gives scale·CrossEntropy, and the gradient of its sum by the logits.
//
//	logits, gradient [tokens, vocab] · targets [tokens] · loss [tokens]
func CrossEntropyBackward(logits Mat, targets []int, scale float64) (loss []float64, grad Mat) {
	loss, grad = CrossEntropy(logits, targets), NewMat(logits.Rows, logits.Cols)
	for t, target := range targets {
		loss[t] *= scale
		if target < 0 {
			continue
		}
		for j, v := range logSoftmax(logits.Row(t), 1) {
			grad.Row(t)[j] = scale * math.Exp(v)
		}
		grad.Row(t)[target] -= scale
	}
	return loss, grad
}
