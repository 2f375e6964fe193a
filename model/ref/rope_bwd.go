package ref

// RoPEBackward gives the gradient of x from that of RoPE(x, headDim, positions, freqs, interleaved): turned by the opposite angles.
//
//	dy, result [tokens, heads·headDim] · positions [tokens] · freqs [≤ headDim/2]
func RoPEBackward(dy Mat, headDim int, positions []int, freqs []float64, interleaved bool) Mat {
	opposite := make([]float64, len(freqs))
	for i, f := range freqs {
		opposite[i] = -f
	}
	return RoPE(dy, headDim, positions, opposite, interleaved)
}
