package ref

// SoftCap gives cap·tanh(scale·x/cap), or scale·x where cap is 0. Source: Gemma Team 2024, arXiv 2408.00118, section 2.
//
//	x, result of one shape
func SoftCap(x Mat, scale, cap float64) Mat {
	y := NewMat(x.Rows, x.Cols)
	for i, v := range x.Data {
		y.Data[i], _ = LogitOptions{Cap: cap}.capped(scale * v)
	}
	return y
}
