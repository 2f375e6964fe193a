package ref

// ReLU gives max(x, 0), element by element.
//
//	x, result [tokens, features]
func ReLU(x Mat) Mat {
	y := NewMat(x.Rows, x.Cols)
	for i, v := range x.Data {
		y.Data[i] = max(v, 0)
	}
	return y
}
