package ref

// SoftCapBackward gives the gradient of x from that of y = SoftCap(x, scale, cap).
//
//	dy, y, result of one shape
func SoftCapBackward(dy, y Mat, scale, cap float64) Mat {
	check(dy.shape() == y.shape(), "softcap_bwd", dy.shape(), y.shape())
	dx := NewMat(y.Rows, y.Cols)
	for i, v := range y.Data {
		t := 0.0
		if cap != 0 {
			t = v / cap
		}
		dx.Data[i] = scale * (1 - t*t) * dy.Data[i]
	}
	return dx
}
