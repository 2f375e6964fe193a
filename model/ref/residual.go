package ref

// Residual gives x·w − c.
//
//	x [rows, depth] · w [depth, cols] · c, result [rows, cols]
func Residual(x, w, c Mat) Mat {
	check(x.Cols == w.Rows && c.shape() == [2]int{x.Rows, w.Cols}, "residual", x.shape(), w.shape(), c.shape())
	y := NewMat(c.Rows, c.Cols)
	for t := range y.Rows {
		for k, v := range x.Row(t) {
			for i, b := range w.Row(k) {
				y.Row(t)[i] += v * b
			}
		}
		for i, v := range c.Row(t) {
			y.Row(t)[i] -= v
		}
	}
	return y
}
