package ref

import "math"

// LayerNormBackward gives the gradient of x from that of LayerNorm(x, w, b, eps), and the products whose sums over the tokens are the
// gradient of w; that of b is the sums of dy. Source: Ba, Kiros & Hinton 2016, arXiv 1607.06450.
//
//	dy, x, results [tokens, hidden] · w [hidden]
func LayerNormBackward(dy, x Mat, w []float64, eps float64) (dx, products Mat) {
	check(dy.shape() == x.shape() && len(w) == x.Cols, "layernorm_bwd", dy.shape(), x.shape(), len(w))
	dx, products = NewMat(x.Rows, x.Cols), NewMat(x.Rows, x.Cols)
	for t := range x.Rows {
		d, m, n := dy.Row(t), mean(x.Row(t)), float64(x.Cols)
		variance, level, along := 0.0, 0.0, 0.0
		for _, v := range x.Row(t) {
			variance += (v - m) * (v - m) / n
		}
		scale := 1 / math.Sqrt(variance+eps)
		for i, v := range x.Row(t) {
			products.Row(t)[i] = d[i] * (v - m) * scale
			level += d[i] * w[i] / n
			along += products.Row(t)[i] * w[i] / n
		}
		for i, v := range x.Row(t) {
			dx.Row(t)[i] = scale * (d[i]*w[i] - level - (v-m)*scale*along)
		}
	}
	return dx, products
}
