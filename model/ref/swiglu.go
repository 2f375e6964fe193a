package ref

import "math"

// SwiGLU gives SiLU(gate) ⊙ up, SiLU(z) = z/(1+e^−z). Source: Shazeer 2020, arXiv 2002.05202.
//
//	gate, up, result [tokens, ffn]
func SwiGLU(gate, up Mat) Mat {
	return gated(gate, up, silu)
}

// GeGLU is SwiGLU with GELU by tanh in place of SiLU. Source: Hendrycks & Gimpel 2016, arXiv 1606.08415.
func GeGLU(gate, up Mat) Mat { return gated(gate, up, gelu) }

// silu and gelu give their values and their derivatives.
func silu(z float64) (y, slope float64) {
	s := 1 / (1 + math.Exp(-z))
	return z * s, s * (1 + z/(1+math.Exp(z)))
}

func gelu(z float64) (y, slope float64) { // by 1 + tanh(t/2) = 2σ(t)
	c := math.Sqrt(8 / math.Pi)
	t := c * (z + 0.044715*z*z*z)
	s := 1 / (1 + math.Exp(-t))
	return z * s, s * (1 + z*c*(1+3*0.044715*z*z)/(1+math.Exp(t)))
}

func gated(gate, up Mat, of func(z float64) (y, slope float64)) Mat {
	check(gate.shape() == up.shape(), "swiglu", gate.shape(), up.shape())
	y := NewMat(gate.Rows, gate.Cols)
	for i, z := range gate.Data {
		v, _ := of(z)
		y.Data[i] = v * up.Data[i]
	}
	return y
}
