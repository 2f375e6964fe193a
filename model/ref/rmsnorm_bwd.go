package ref

import "math"

// RMSNormBackward gives the gradient of x from that of RMSNorm(x, w, eps), and the products whose sums over the tokens are the gradient
// of w. Source: Zhang & Sennrich 2019, arXiv 1910.07467.
//
//	dy, x, results [tokens, hidden] · w [hidden]
func RMSNormBackward(dy, x Mat, w []float64, eps float64) (dx, products Mat) {
	check(dy.shape() == x.shape() && len(w) == x.Cols, "rmsnorm_bwd", dy.shape(), x.shape(), len(w))
	dx, products = NewMat(x.Rows, x.Cols), NewMat(x.Rows, x.Cols)
	for t := range x.Rows {
		d, n := dy.Row(t), float64(x.Cols)
		scale, along := 1/math.Sqrt(view(x.Row(t)).LenSqr()/n+eps), 0.0
		for i, v := range x.Row(t) {
			products.Row(t)[i] = d[i] * v * scale
			along += products.Row(t)[i] * w[i] / n
		}
		for i, v := range x.Row(t) {
			dx.Row(t)[i] = scale * (d[i]*w[i] - v*scale*along)
		}
	}
	return dx, products
}
