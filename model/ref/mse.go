package ref

// MSE gives scale·Σ_i (ŷ[t,i] − y[t,i])² of every row t, and the gradient of their sum by ŷ.
//
//	yhat, y, gradient [rows, cols] · loss [rows]
func MSE(yhat, y Mat, scale float64) (loss []float64, grad Mat) {
	check(yhat.shape() == y.shape(), "mse", yhat.shape(), y.shape())
	loss, grad = make([]float64, y.Rows), NewMat(y.Rows, y.Cols)
	for t := range y.Rows {
		for i, v := range y.Row(t) {
			d := yhat.At(t, i) - v
			loss[t] += scale * d * d
			grad.Row(t)[i] = 2 * scale * d
		}
	}
	return loss, grad
}
