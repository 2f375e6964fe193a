package arch

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// RopeType says how rotary positions are stretched beyond the context that a model was first trained on.
type RopeType string

const (
	RopeNone   RopeType = "none"
	RopeLinear RopeType = "linear"   // positions divided by Factor
	RopeLlama3 RopeType = "llama3"   // low frequencies divided by Factor, high ones kept, a ramp between
	RopeLong   RopeType = "longrope" // each frequency divided by a factor of its own, of Long in sequences beyond OriginalMaxPosition, else of Short
)

// RopeScaling holds rope_scaling. Fields that the type does not use are zero.
type RopeScaling struct {
	Type                RopeType
	Factor              float64
	LowFreqFactor       float64
	HighFreqFactor      float64
	OriginalMaxPosition int
	Short, Long         []float64 // head_dim/2 each
	AttentionFactor     float64   // that cosines and sines are multiplied by
}

// rope reads rope_theta with rope_scaling, or the rope_parameters of transformers 5 that hold both.
func (f *Fields) rope(c *Config, d dialect) {
	key := "rope_scaling"
	if f.has("rope_parameters") {
		key = "rope_parameters"
	}
	in := Fields{err: f.err}
	f.get(key, &in.values)

	c.RopeTheta = in.number("rope_theta", f.number("rope_theta", cmp.Or(d.ropeTheta, 10000)))
	if !(c.RopeTheta >= 1 && c.RopeTheta <= 1e12) {
		f.fail("rope_theta %v, expected 1 to 1e12", c.RopeTheta)
	}
	if part := in.number("partial_rotary_factor", f.number("partial_rotary_factor", 1)); part != 1 {
		f.fail("partial_rotary_factor %v, supported is 1", part)
	}
	for _, name := range slices.Sorted(maps.Keys(in.values)) {
		if in.values[name][0] == '{' {
			f.fail("%s has rotary positions of their own for %s, which is not supported", key, clip(name))
		}
	}
	s := RopeScaling{Type: RopeType(in.text("rope_type", in.text("type", "default")))}
	if name, ok := d.ropeNames[s.Type]; ok {
		s.Type = name
	}
	positive := func(name string, fallback float64) float64 {
		v := in.number(name, fallback)
		if in.err == nil && !(v > 0 && v <= 1e9) {
			in.fail("%s: %s %v, expected more than 0", key, name, v)
		}
		return v
	}
	switch s.Type {
	case "default", "none":
		s.Type = RopeNone
	case RopeLinear:
		s.Factor = positive("factor", 0)
	case RopeLlama3:
		s.Factor = positive("factor", 0)
		s.LowFreqFactor = positive("low_freq_factor", 0)
		s.HighFreqFactor = positive("high_freq_factor", 0)
		s.OriginalMaxPosition = in.size("original_max_position_embeddings", 1<<30, c.MaxPositionEmbeddings)
		if s.HighFreqFactor <= s.LowFreqFactor {
			in.fail("%s: high_freq_factor %v is not above low_freq_factor %v", key, s.HighFreqFactor, s.LowFreqFactor)
		}
	case RopeLong:
		// A file's own original_max_position_embeddings goes before the one among these, as in transformers.
		s.OriginalMaxPosition = in.size("original_max_position_embeddings", 1<<30, cmp.Or(d.originalMax, c.MaxPositionEmbeddings))
		if f.has("original_max_position_embeddings") {
			s.OriginalMaxPosition = f.size("original_max_position_embeddings", 1<<30, required)
		}
		s.Short, s.Long = in.numbers(key, "short_factor", c.HeadDim/2), in.numbers(key, "long_factor", c.HeadDim/2)
		s.AttentionFactor = in.number("attention_factor", longAttention(positive("factor", float64(c.MaxPositionEmbeddings)/float64(max(1, s.OriginalMaxPosition))), s.OriginalMaxPosition))
		if in.err == nil && !(s.AttentionFactor > 0 && s.AttentionFactor <= 1e3) {
			in.fail("%s: attention_factor %v, expected more than 0", key, s.AttentionFactor)
		}
	default:
		in.fail("%s type %q, supported are default, linear, llama3, longrope", key, s.Type)
	}
	if in.err != nil {
		f.fail("%w", in.err)
	}
	c.RopeScaling = s
}

// longAttention is what longrope multiplies cosines and sines by where the file does not say. Source: LongRoPE, arXiv 2402.13753.
func longAttention(factor float64, original int) float64 {
	if factor <= 1 || original < 2 {
		return 1
	}
	return math.Sqrt(1 + math.Log(factor)/math.Log(float64(original)))
}

// Rotary says whether a layer turns queries and keys by their positions.
func (c *Config) Rotary(layer int) bool {
	return !c.LearnedPositions && (c.NoRope == nil || !c.NoRope[layer])
}

// RopeFrequencies gives the angle per position of every rotary pair, theta^(−2i/headDim) for i = 0…headDim/2−1, scaled, in a sequence of
// length tokens. Sources: Su et al. 2021, arXiv 2104.09864; modeling_rope_utils of transformers for the scalings.
func RopeFrequencies(headDim int, theta float64, s RopeScaling, length int) []float64 {
	freqs := make([]float64, headDim/2)
	for i := range freqs {
		freqs[i] = s.scale(i, math.Pow(theta, -2*float64(i)/float64(headDim)), length)
	}
	return freqs
}

func (s RopeScaling) scale(i int, freq float64, length int) float64 {
	switch s.Type {
	case RopeLinear:
		return freq / s.Factor
	case RopeLlama3:
		turns := float64(s.OriginalMaxPosition) * freq / (2 * math.Pi) // over the context of the first training
		keep := min(max((turns-s.LowFreqFactor)/(s.HighFreqFactor-s.LowFreqFactor), 0), 1)
		return freq * (keep + (1-keep)/s.Factor)
	case RopeLong:
		if length > s.OriginalMaxPosition {
			return freq / s.Long[i]
		}
		return freq / s.Short[i]
	}
	return freq
}

// RopeSwitch is the length of a sequence beyond which all its positions are turned otherwise; 0: its length does not matter.
func (c *Config) RopeSwitch() int {
	if c.RopeScaling.Type == RopeLong {
		return c.RopeScaling.OriginalMaxPosition
	}
	return 0
}

// RopeTable is what op.SplitQKV reads for positions 0 to positions−1 in a sequence of length tokens, each a row of head_dim: the cosines of the
// position's head_dim/2 angles, then the sines. Angles are of float64, so that they are right at any position.
func (c *Config) RopeTable(positions, length int) []float32 {
	freqs, scale := RopeFrequencies(c.HeadDim, c.RopeTheta, c.RopeScaling, length), 1.0
	if c.RopeScaling.Type == RopeLong {
		scale = c.RopeScaling.AttentionFactor
	}
	table := make([]float32, positions*c.HeadDim)
	for p := range positions {
		row := table[p*c.HeadDim : (p+1)*c.HeadDim]
		for i, f := range freqs {
			sin, cos := math.Sincos(float64(p) * f)
			row[i], row[len(freqs)+i] = float32(scale*cos), float32(scale*sin)
		}
	}
	return table
}
