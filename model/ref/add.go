package ref

// Add gives x + y, element by element: the residual connection.
func Add(x, y Mat) Mat {
	check(x.shape() == y.shape(), "add", x.shape(), y.shape())
	sum := NewMat(x.Rows, x.Cols)
	view(x.Data).Add(view(sum.Data), view(y.Data))
	return sum
}

// Scale is x multiplied by s.
func Scale(x Mat, s float64) Mat {
	y := NewMat(x.Rows, x.Cols)
	for i, v := range x.Data {
		y.Data[i] = s * v
	}
	return y
}
