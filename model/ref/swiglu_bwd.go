package ref

import "math"

// SwiGLUBackward gives the gradients of gate and up from that of SwiGLU(gate, up).
//
//	dy, gate, up, results [tokens, ffn]
func SwiGLUBackward(dy, gate, up Mat) (dgate, dup Mat) {
	check(gate.shape() == up.shape() && gate.shape() == dy.shape(), "swiglu_bwd", dy.shape(), gate.shape(), up.shape())
	dgate, dup = NewMat(gate.Rows, gate.Cols), NewMat(gate.Rows, gate.Cols)
	for i, z := range gate.Data {
		s, rest := 1/(1+math.Exp(-z)), 1/(1+math.Exp(z))
		dup.Data[i] = dy.Data[i] * z * s
		dgate.Data[i] = dy.Data[i] * up.Data[i] * s * (1 + z*rest)
	}
	return dgate, dup
}
