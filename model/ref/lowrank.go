package ref

// LowRank is w + bᵀ·a, of w [rows, cols], a [rank, cols] and b [rank, rows]: a weight with a low-rank update, Hu et al. 2022, arXiv
// 2106.09685.
func LowRank(w, a, b Mat) Mat {
	check(a.Cols == w.Cols && b.Cols == w.Rows && a.Rows == b.Rows, "lowrank", w.shape(), a.shape(), b.shape())
	y := NewMat(w.Rows, w.Cols)
	for o := range w.Rows {
		for i := range w.Cols {
			sum := w.At(o, i)
			for k := range a.Rows {
				sum += b.At(k, o) * a.At(k, i)
			}
			y.Data[o*w.Cols+i] = sum
		}
	}
	return y
}
