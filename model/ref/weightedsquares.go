package ref

// WeightedSquares gives w[t]·Σ_i x[t,i]² for every row.
//
//	x [tokens, cols] · w, result [tokens]
func WeightedSquares(x Mat, w []float64) []float64 {
	check(len(w) == x.Rows, "weightedsquares", x.shape(), len(w))
	y := make([]float64, x.Rows)
	for t := range y {
		y[t] = w[t] * view(x.Row(t)).LenSqr()
	}
	return y
}
