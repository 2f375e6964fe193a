package ref

// LinearBackward gives the gradients of y = x·wᵀ + bias, given dy, that of y: dx = dy·w, dw = dyᵀ·x, dbias = the sum of dy's rows.
//
//	dy [tokens, out] · x, dx [tokens, in] · w, dw [out, in] · dbias [out]
func LinearBackward(dy, x, w Mat) (dx, dw Mat, dbias []float64) {
	check(dy.Rows == x.Rows && dy.Cols == w.Rows && x.Cols == w.Cols, "linear_bwd", dy.shape(), x.shape(), w.shape())
	dx, dw, dbias = NewMat(x.Rows, x.Cols), NewMat(w.Rows, w.Cols), make([]float64, w.Rows)
	for t := range dy.Rows {
		for o, d := range dy.Row(t) {
			dbias[o] += d
			for i := range w.Cols {
				dx.Row(t)[i] += d * w.At(o, i)
				dw.Row(o)[i] += d * x.At(t, i)
			}
		}
	}
	return dx, dw, dbias
}
