package ref

import "math"

// SwiGLU gives SiLU(gate) ⊙ up, SiLU(z) = z/(1+e^−z). Source: Shazeer 2020, arXiv 2002.05202.
//
//	gate, up, result [tokens, ffn]
func SwiGLU(gate, up Mat) Mat {
	check(gate.shape() == up.shape(), "swiglu", gate.shape(), up.shape())
	y := NewMat(gate.Rows, gate.Cols)
	for i, z := range gate.Data {
		y.Data[i] = z / (1 + math.Exp(-z)) * up.Data[i]
	}
	return y
}
