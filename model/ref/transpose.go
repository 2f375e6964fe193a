package ref

// Transpose gives xᵀ.
//
//	x [rows, cols] · result [cols, rows]
func Transpose(x Mat) Mat {
	y := NewMat(x.Cols, x.Rows)
	for i := range x.Rows {
		for j, v := range x.Row(i) {
			y.Row(j)[i] = v
		}
	}
	return y
}
