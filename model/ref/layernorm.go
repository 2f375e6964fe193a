package ref

import "math"

// LayerNorm gives y = (x − mean(x)) / sqrt(var(x) + eps) · w + b for every row of x. Source: Ba, Kiros & Hinton 2016, arXiv
// 1607.06450.
//
//	x [tokens, hidden] · w, b [hidden] · result [tokens, hidden]
func LayerNorm(x Mat, w, b []float64, eps float64) Mat {
	check(len(w) == x.Cols && len(b) == x.Cols, "layernorm", x.shape(), len(w), len(b))
	y := NewMat(x.Rows, x.Cols)
	for t := range x.Rows {
		in, out := x.Row(t), y.Row(t)
		m, variance := mean(in), 0.0
		for _, v := range in {
			variance += (v - m) * (v - m) / float64(x.Cols)
		}
		for i, v := range in {
			out[i] = (v-m)/math.Sqrt(variance+eps)*w[i] + b[i]
		}
	}
	return y
}
