package model

import "math"

// RopeFrequencies gives the angle per position of every rotary pair, theta^(−2i/headDim) for i = 0…headDim/2−1, scaled. Sources:
// Su et al. 2021, arXiv 2104.09864; modeling_rope_utils of transformers for the scalings.
func RopeFrequencies(headDim int, theta float64, s RopeScaling) []float64 {
	freqs := make([]float64, headDim/2)
	for i := range freqs {
		freqs[i] = s.scale(math.Pow(theta, -2*float64(i)/float64(headDim)))
	}
	return freqs
}

func (s RopeScaling) scale(freq float64) float64 {
	switch s.Type {
	case RopeLinear:
		return freq / s.Factor
	case RopeLlama3:
		turns := float64(s.OriginalMaxPosition) * freq / (2 * math.Pi) // over the context of the first training
		keep := min(max((turns-s.LowFreqFactor)/(s.HighFreqFactor-s.LowFreqFactor), 0), 1)
		return freq * (keep + (1-keep)/s.Factor)
	}
	return freq
}

// RopeTable is what op.RoPE reads for positions 0 to positions−1, each a row of head_dim: the cosines of the position's head_dim/2
// angles, then the sines. Angles are of float64, so that they are right at any position.
func RopeTable(c *Config, positions int) []float32 {
	freqs := RopeFrequencies(c.HeadDim, c.RopeTheta, c.RopeScaling)
	table := make([]float32, positions*c.HeadDim)
	for p := range positions {
		row := table[p*c.HeadDim : (p+1)*c.HeadDim]
		for i, f := range freqs {
			sin, cos := math.Sincos(float64(p) * f)
			row[i], row[len(freqs)+i] = float32(cos), float32(sin)
		}
	}
	return table
}
