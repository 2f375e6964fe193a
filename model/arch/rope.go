package arch

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
)

// RopeType says how rotary positions are stretched beyond the context that a model was first trained on.
type RopeType string

const (
	RopeNone    RopeType = "none"
	RopeLinear  RopeType = "linear"   // positions divided by Factor
	RopeDynamic RopeType = "dynamic"  // as they are up to max_position_embeddings, beyond which vkcome takes no model
	RopeLlama3  RopeType = "llama3"   // low frequencies divided by Factor, high ones kept, a ramp between
	RopeYarn    RopeType = "yarn"     // the same with another ramp, over pairs of channels; see yarnRamp
	RopeLong    RopeType = "longrope" // each frequency divided by a factor of its own, of Long in sequences beyond OriginalMaxPosition, else of Short
)

// RopeScaling holds rope_scaling. Fields that the type does not use are zero.
type RopeScaling struct {
	Type                RopeType
	Factor              float64
	LowFreqFactor       float64
	HighFreqFactor      float64
	OriginalMaxPosition int
	BetaFast, BetaSlow  float64   // of yarn: how often pairs turn in the original context at the ends of the ramp
	Untruncated         bool      // of yarn: the ends of the ramp may lie between two pairs
	Short, Long         []float64 // head_dim/2 each
	AttentionFactor     float64   // that cosines and sines are multiplied by
	QueryBeta           float64   // queries grow with each OriginalMaxPosition of positions, beyond which vkcome takes no model; 0: they do not
	Restarts            bool      // where the factors become others while text is generated, earlier tokens are turned again; else their keys stay as they are
}

// ropeKeys are those of rope_scaling, of any type. One that a type does not read is ignored, as transformers does with a warning.
var ropeKeys = words(`rope_type type rope_theta factor low_freq_factor high_freq_factor original_max_position_embeddings beta_fast beta_slow truncate
	mscale mscale_all_dim attention_factor short_factor long_factor short_mscale long_mscale partial_rotary_factor mrope_section mrope_interleaved finetuned
	attn_factor extrapolation_factor max_position_embeddings llama_4_scaling_beta`)

// stretching are the keys that stretch positions, each in the way that a type says. Without one, transformers 4 raises an error and 5 stretches
// nothing.
var stretching = []string{"factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "attention_factor", "short_factor", "long_factor"}

// rope reads rope_theta with rope_scaling, or the rope_parameters of transformers 5 that hold both. Where a file has both of these,
// rope_scaling counts, and the other not even for its rope_theta.
func (f *Fields) rope(c *Config, d dialect) {
	in, key := Fields{err: f.err}, "rope_scaling"
	if f.get(key, &in.values); len(in.values) == 0 {
		key = "rope_parameters"
		f.get(key, &in.values)
	}
	c.RopeTheta = in.number("rope_theta", f.number("rope_theta", cmp.Or(d.ropeTheta, 10000)))
	if !(c.RopeTheta >= 1 && c.RopeTheta <= 1e12) {
		f.fail("rope_theta %v, expected 1 to 1e12", c.RopeTheta)
	}
	f.partRotary(c, d, in.number("partial_rotary_factor", f.number("partial_rotary_factor", cmp.Or(d.rotary, 1))))
	for _, name := range slices.Sorted(maps.Keys(in.values)) {
		if in.values[name][0] == '{' {
			f.unsupported("%s has rotary positions of their own for %s, which is not supported", key, clip(name))
		}
	}
	c.RopeScaling = in.ropeScaling(f, c, d, key)
	if c.keys = append(c.keys, in.settle(key+".", ropeKeys)...); in.err != nil {
		f.fail("%w", in.err)
	}
}

// ropesByKind reads rotary positions that layers with a window have for themselves: rope_parameters with an object for each kind of layer, or
// rope_theta with rope_scaling for those without a window, and rope_local_base_freq. Of both, rope_scaling goes before rope_parameters.
func (f *Fields) ropesByKind(c *Config, d dialect) {
	var kinds, scaling map[string]json.RawMessage
	f.get("rope_parameters", &kinds)
	f.get("rope_scaling", &scaling)
	theta := map[string]float64{full: f.number("rope_theta", d.ropeTheta), sliding: f.number("rope_local_base_freq", d.localTheta)}
	for kind, value := range kinds {
		if kind != full && kind != sliding {
			f.fail("rope_parameters.%s %s: expected full_attention and sliding_attention", clip(kind), clip(string(value)))
		}
	}
	of := func(kind string, more map[string]json.RawMessage) (*Fields, string) {
		in, key := &Fields{err: f.err}, "rope_parameters."+kind
		outer := Fields{values: kinds, err: f.err}
		if outer.get(kind, &in.values); outer.err != nil {
			f.fail("rope_parameters: %w", outer.err)
		}
		if len(more) > 0 {
			in.values, key = maps.Clone(in.values), "rope_scaling"
			if in.values == nil {
				in.values = map[string]json.RawMessage{}
			}
			maps.Copy(in.values, more)
		}
		if theta[kind] = in.number("rope_theta", theta[kind]); !(theta[kind] >= 1 && theta[kind] <= 1e12) {
			f.fail("%s: rope_theta %v, expected 1 to 1e12", key, theta[kind])
		}
		return in, key
	}
	in, key := of(full, scaling)
	c.RopeTheta = theta[full]
	c.RopeScaling = in.ropeScaling(f, c, d, key)
	local, localKey := of(sliding, nil)
	c.LocalTheta = theta[sliding]
	if s := local.ropeScaling(f, c, d, localKey); s.Type != RopeNone {
		local.fail("%s: type %q, supported is default", localKey, s.Type)
	}
	for _, part := range []struct {
		in  *Fields
		key string
	}{{in, key}, {local, localKey}} {
		f.partRotary(c, d, part.in.number("partial_rotary_factor", f.number("partial_rotary_factor", 1)))
		if c.keys = append(c.keys, part.in.settle(part.key+".", ropeKeys)...); part.in.err != nil {
			f.fail("%w", part.in.err)
		}
	}
}

// partRotary takes the share of a head's channels that are turned.
func (f *Fields) partRotary(c *Config, d dialect, part float64) {
	dim := int(float64(c.HeadDim) * part)
	switch {
	case part == 1:
	case d.rotary == 0:
		f.fail("partial_rotary_factor %v, supported is 1", part)
	case !(part > 0 && part <= 1) || dim < 2 || dim%2 != 0:
		f.fail("partial_rotary_factor %v: %d channels of %d are turned, expected an even number of 2 or more", part, dim, c.HeadDim)
	default:
		c.RotaryDim = dim
	}
}

// ropeScaling reads the object that key names in the file top.
func (f *Fields) ropeScaling(top *Fields, c *Config, d dialect, key string) RopeScaling {
	s := RopeScaling{Type: RopeType(f.text("type", "default"))}
	s.Type = RopeType(f.text("rope_type", string(s.Type)))
	if !f.has("rope_type") && !f.has("type") {
		for _, name := range stretching {
			if f.has(name) {
				f.fail("%s: %s is there and rope_type, which says what it means, is missing: expected linear, dynamic, llama3, yarn or longrope, or default for no scaling", key, name)
			}
		}
	}
	if name, ok := d.ropeNames[s.Type]; ok {
		s.Type = name
	}
	if d.longRope && s.Type != RopeLong && s.Type != "default" {
		f.fail("%s type %q, supported of %s are default and longrope", key, s.Type, c.Architecture)
	}
	if d.queryBeta && s.Type != RopeYarn {
		f.fail("%s type %q, supported of %s is yarn", key, s.Type, c.Architecture)
	}
	positive := func(name string, fallback float64) float64 {
		v := f.number(name, fallback)
		if f.err == nil && !(v > 0 && v <= 1e9) {
			f.fail("%s: %s %v, expected more than 0", key, name, v)
		}
		return v
	}
	original := func() int { // the file's own goes before the one among these, as in transformers
		n := f.size("original_max_position_embeddings", 1<<30, c.MaxPositionEmbeddings)
		return top.size("original_max_position_embeddings", 1<<30, cmp.Or(d.originalMax, n))
	}
	switch s.Type {
	case "default", "none":
		s.Type = RopeNone
	case RopeLinear, RopeDynamic:
		s.Factor = positive("factor", 0)
	case RopeLlama3:
		s.Factor = positive("factor", 0)
		s.LowFreqFactor = positive("low_freq_factor", 0)
		s.HighFreqFactor = positive("high_freq_factor", 0)
		s.OriginalMaxPosition = original()
		if s.HighFreqFactor <= s.LowFreqFactor {
			f.fail("%s: high_freq_factor %v is not above low_freq_factor %v", key, s.HighFreqFactor, s.LowFreqFactor)
		}
	case RopeYarn:
		s.OriginalMaxPosition = original()
		s.Factor = positive("factor", float64(c.MaxPositionEmbeddings)/float64(max(1, s.OriginalMaxPosition)))
		s.BetaFast, s.BetaSlow = cmp.Or(f.number("beta_fast", 0), 32), cmp.Or(f.number("beta_slow", 0), 1)
		if !(s.BetaFast > 0 && s.BetaFast <= 1e9 && s.BetaSlow > 0 && s.BetaSlow <= 1e9) {
			f.fail("%s: beta_fast %v, beta_slow %v, expected more than 0", key, s.BetaFast, s.BetaSlow)
		}
		if c.RopeTheta == 1 {
			f.fail("%s: yarn with rope_theta 1: all pairs turn alike, and none is the first to be stretched", key)
		}
		_, there := f.values["truncate"] // null is false, as in transformers
		s.Untruncated = !f.flag("truncate", !there)
		s.AttentionFactor = yarnAttention(s.Factor, 1)
		if all, most := f.number("mscale", 0), f.number("mscale_all_dim", 0); all != 0 && most != 0 {
			s.AttentionFactor = yarnAttention(s.Factor, all) / yarnAttention(s.Factor, most)
		}
		s.AttentionFactor = f.attentionFactor(key, s.AttentionFactor)
		if d.queryBeta {
			if s.QueryBeta = f.number("llama_4_scaling_beta", 0); !f.has("llama_4_scaling_beta") {
				f.fail("%s: llama_4_scaling_beta is missing", key)
			}
		}
	case RopeLong:
		s.OriginalMaxPosition = original()
		s.Short, s.Long = f.numbers(key, "short_factor", c.Rotated(c.HeadDim)/2), f.numbers(key, "long_factor", c.Rotated(c.HeadDim)/2)
		s.Factor = positive("factor", float64(c.MaxPositionEmbeddings)/float64(max(1, s.OriginalMaxPosition)))
		s.AttentionFactor = f.attentionFactor(key, longAttention(s.Factor, s.OriginalMaxPosition))
		s.Restarts = d.longRope // what transformers does for Phi-3 alone
	default:
		f.unsupported("%s type %q, supported are default, linear, dynamic, llama3, yarn, longrope", key, s.Type)
	}
	return s
}

func (f *Fields) attentionFactor(key string, fallback float64) float64 {
	v := f.number("attention_factor", fallback)
	if f.err == nil && !(v > 0 && v <= 1e3) {
		f.fail("%s: attention_factor %v, expected more than 0", key, v)
	}
	return v
}

// yarnAttention is the factor that yarn multiplies cosines and sines by. Source: YaRN, arXiv 2309.00071, section 3.4, with the weight of
// DeepSeek's variants.
func yarnAttention(factor, weight float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*weight*math.Log(factor) + 1
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

// RopeFrequencies gives the angle per position of every rotary pair, theta^(−2i/dim) for i = 0…dim/2−1, scaled, in a sequence of
// length tokens. Sources: Su et al. 2021, arXiv 2104.09864; modeling_rope_utils of transformers for the scalings.
func RopeFrequencies(dim int, theta float64, s RopeScaling, length int) []float64 {
	freqs := make([]float64, dim/2)
	for i := range freqs {
		freqs[i] = s.scale(i, math.Pow(theta, -2*float64(i)/float64(dim)), length)
	}
	if s.Type == RopeYarn {
		low, high := s.yarnRamp(dim, theta)
		for i, freq := range freqs {
			part := min(max((float64(i)-low)/(high-low), 0), 1)
			freqs[i] = freq * (part/s.Factor + 1 - part)
		}
	}
	return freqs
}

// yarnRamp gives the pairs between which frequencies go from kept to divided by Factor: those that turn BetaFast and BetaSlow times in the
// original context. Source: YaRN, arXiv 2309.00071, section 3.2; the limits are those of transformers.
func (s RopeScaling) yarnRamp(dim int, theta float64) (low, high float64) {
	pair := func(turns float64) float64 {
		return float64(dim) * math.Log(float64(s.OriginalMaxPosition)/(turns*2*math.Pi)) / (2 * math.Log(theta))
	}
	if low, high = pair(s.BetaFast), pair(s.BetaSlow); !s.Untruncated {
		low, high = math.Floor(low), math.Ceil(high)
	}
	if low, high = max(low, 0), min(high, float64(dim-1)); low == high {
		high += 0.001
	}
	return low, high
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

// RopeTable is what op.SplitQKV reads, of a kind of rotary positions, for positions 0 to positions−1 in a sequence of length tokens, each a row
// of Rotated: the cosines of the position's Rotated/2 angles, then the sines. Angles are of float64, so that they are right at any position.
func (c *Config) RopeTable(kind, positions, length int) []float32 {
	theta, scaling, dim := c.RopeTheta, c.RopeScaling, c.Rotated(c.HeadDim)
	if kind == LocalRope {
		theta, scaling = c.LocalTheta, RopeScaling{}
	}
	freqs, scale := RopeFrequencies(dim, theta, scaling, length), cmp.Or(scaling.AttentionFactor, 1)
	table := make([]float32, positions*dim)
	for p := range positions {
		row := table[p*dim : (p+1)*dim]
		for i, f := range freqs {
			sin, cos := math.Sincos(float64(p) * f)
			row[i], row[len(freqs)+i] = float32(scale*cos), float32(scale*sin)
		}
	}
	return table
}
