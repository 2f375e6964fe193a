package ref

// SwiGLUBackward gives the gradients of gate and up from that of SwiGLU(gate, up).
//
//	dy, gate, up, results [tokens, ffn]
func SwiGLUBackward(dy, gate, up Mat) (dgate, dup Mat) { return gatedBackward(dy, gate, up, silu) }

// GeGLUBackward is that of GeGLU.
func GeGLUBackward(dy, gate, up Mat) (dgate, dup Mat) { return gatedBackward(dy, gate, up, gelu) }

func gatedBackward(dy, gate, up Mat, of func(z float64) (y, slope float64)) (dgate, dup Mat) {
	check(gate.shape() == up.shape() && gate.shape() == dy.shape(), "swiglu_bwd", dy.shape(), gate.shape(), up.shape())
	dgate, dup = NewMat(gate.Rows, gate.Cols), NewMat(gate.Rows, gate.Cols)
	for i, z := range gate.Data {
		y, slope := of(z)
		dup.Data[i] = dy.Data[i] * y
		dgate.Data[i] = dy.Data[i] * up.Data[i] * slope
	}
	return dgate, dup
}
