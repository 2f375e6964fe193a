package ref

import "math"

// CosineLoss gives scale·(1 − cos(ŷ[t], y[t])) of every row t, and the gradient of their sum by ŷ. A row of zeros gives 0.
//
//	yhat, y, gradient [rows, cols] · loss [rows]
func CosineLoss(yhat, y Mat, scale float64) (loss []float64, grad Mat) {
	check(yhat.shape() == y.shape(), "cosineloss", yhat.shape(), y.shape())
	loss, grad = make([]float64, y.Rows), NewMat(y.Rows, y.Cols)
	for t := range y.Rows {
		u, v := view(yhat.Row(t)), view(y.Row(t))
		ul, vl := math.Sqrt(u.Dot(u)), math.Sqrt(v.Dot(v))
		if ul == 0 || vl == 0 {
			continue
		}
		cos := u.Dot(v) / (ul * vl)
		loss[t] = scale * (1 - cos)
		for i := range y.Cols {
			grad.Row(t)[i] = -scale * (y.At(t, i)/(ul*vl) - cos*yhat.At(t, i)/(ul*ul))
		}
	}
	return loss, grad
}
