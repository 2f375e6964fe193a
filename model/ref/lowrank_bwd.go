package ref

// LowRankBackward gives the gradients of a and b in y = x·(w + bᵀ·a)ᵀ, given dy, that of y: those of w + bᵀ·a, taken further.
//
//	dy [tokens, out] · x [tokens, in] · a, da [rank, in] · b, db [rank, out]
func LowRankBackward(dy, x, a, b Mat) (da, db Mat) {
	check(a.Cols == x.Cols && b.Cols == dy.Cols && a.Rows == b.Rows, "lowrank_bwd", dy.shape(), x.shape(), a.shape(), b.shape())
	_, dw, _ := LinearBackward(dy, x, NewMat(dy.Cols, x.Cols))
	da, db = NewMat(a.Rows, a.Cols), NewMat(b.Rows, b.Cols)
	for k := range a.Rows {
		for o := range dw.Rows {
			for i, d := range dw.Row(o) {
				da.Row(k)[i] += b.At(k, o) * d
				db.Row(k)[o] += a.At(k, i) * d
			}
		}
	}
	return da, db
}
