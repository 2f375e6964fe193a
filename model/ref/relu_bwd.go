package ref

// ReLUBackward gives the gradient of x from that of y = ReLU(x): dy where y, or x, is above 0, else 0.
//
//	dy, y, result [tokens, features]
func ReLUBackward(dy, y Mat) Mat {
	check(dy.shape() == y.shape(), "relu_bwd", dy.shape(), y.shape())
	dx := NewMat(y.Rows, y.Cols)
	for i, v := range y.Data {
		if v > 0 {
			dx.Data[i] = dy.Data[i]
		}
	}
	return dx
}
