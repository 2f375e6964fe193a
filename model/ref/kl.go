package ref

import "math"

// KLDivergence gives scale·τ²·KL(p‖q) of p = softmax(y[t]/τ) and q = softmax(ŷ[t]/τ) for every row t, and the gradient of their sum
// by ŷ.
//
//	yhat, y, gradient [rows, cols] · loss [rows]
func KLDivergence(yhat, y Mat, scale, tau float64) (loss []float64, grad Mat) {
	check(yhat.shape() == y.shape(), "kl", yhat.shape(), y.shape())
	loss, grad = make([]float64, y.Rows), NewMat(y.Rows, y.Cols)
	for t := range y.Rows {
		p, q := logSoftmax(y.Row(t), tau), logSoftmax(yhat.Row(t), tau)
		for i := range y.Cols {
			loss[t] += scale * tau * tau * math.Exp(p[i]) * (p[i] - q[i])
			grad.Row(t)[i] = scale * tau * (math.Exp(q[i]) - math.Exp(p[i]))
		}
	}
	return loss, grad
}

// logSoftmax is log softmax(x/τ).
func logSoftmax(x []float64, tau float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / tau
	}
	sum := logSumExp(y)
	for i := range y {
		y[i] -= sum
	}
	return y
}
