package ref

import (
	"fmt"
	"math"

	"github.com/go-gl/mathgl/mgl64"
)

// RopeScaling stretches the rotary frequencies. The zero value leaves them as they are.
type RopeScaling struct {
	Type   string // "" or "default", "linear", "dynamic" (which changes nothing within the context), "llama3", "yarn", "longrope"
	Factor float64
	// The rest is for llama3: wavelengths above OriginalMaxPosition/LowFreqFactor are stretched by Factor, those below
	// OriginalMaxPosition/HighFreqFactor are kept, those between are interpolated.
	LowFreqFactor, HighFreqFactor float64
	OriginalMaxPosition           int
	// For longrope: each frequency is divided by a factor of its own, of Short, or of Long in sequences of more than
	// OriginalMaxPosition tokens (see For); cosines
	// and sines are multiplied by AttentionFactor.
	Short, Long     []float64
	AttentionFactor float64
	// For yarn: pairs that turn more than BetaFast times in OriginalMaxPosition tokens are kept, those that turn less than BetaSlow times are
	// stretched, those between are interpolated by their index, the ends of the interval rounded outwards unless Untruncated.
	BetaFast, BetaSlow float64
	Untruncated        bool
}

// RopeFrequencies gives the angle per position of every pair: theta^(−2i/headDim), i = 0..headDim/2−1, then scaled.
// Sources: Su et al. 2021, arXiv 2104.09864; transformers' modeling_rope_utils for the scalings.
func RopeFrequencies(headDim int, theta float64, scaling RopeScaling) []float64 {
	freqs := make([]float64, headDim/2)
	for i := range freqs {
		freqs[i] = scaling.apply(i, math.Pow(theta, -2*float64(i)/float64(headDim)))
	}
	if scaling.Type == "yarn" {
		scaling.yarn(freqs, headDim, theta)
	}
	return freqs
}

// yarn interpolates. Source: YaRN, arXiv 2309.00071, equations 17 to 20, with transformers' rounding.
func (s RopeScaling) yarn(freqs []float64, headDim int, theta float64) {
	index := func(turns float64) float64 { // of the pair that turns so often: theta^(−2i/headDim) · original = 2π · turns
		return float64(headDim) / 2 * math.Log(float64(s.OriginalMaxPosition)/(2*math.Pi*turns)) / math.Log(theta)
	}
	first, last := index(s.BetaFast), index(s.BetaSlow)
	if !s.Untruncated {
		first, last = math.Floor(first), math.Ceil(last)
	}
	first, last = math.Max(first, 0), math.Min(last, float64(headDim-1))
	if first == last {
		last += 0.001
	}
	for i := range freqs {
		stretched := mgl64.Clamp((float64(i)-first)/(last-first), 0, 1)
		freqs[i] = freqs[i]*(1-stretched) + freqs[i]/s.Factor*stretched
	}
}

// For is the scaling in a sequence of length tokens.
func (s RopeScaling) For(length int) RopeScaling {
	if length > s.OriginalMaxPosition && s.Type == "longrope" {
		s.Short = s.Long
	}
	return s
}

func (s RopeScaling) apply(i int, freq float64) float64 {
	switch s.Type {
	case "", "default", "dynamic", "yarn":
		return freq
	case "linear":
		return freq / s.Factor
	case "llama3":
		turns := float64(s.OriginalMaxPosition) * freq / (2 * math.Pi) // in the original context
		smooth := (turns - s.LowFreqFactor) / (s.HighFreqFactor - s.LowFreqFactor)
		return mgl64.Clamp(smooth, 0, 1)*freq + (1-mgl64.Clamp(smooth, 0, 1))*freq/s.Factor
	}
	if s.Type == "longrope" {
		return freq / s.Short[i]
	}
	panic(fmt.Sprintf("ref: rope: unknown scaling %q", s.Type))
}

// RoPE rotates, in every head, the pair (i, i+len(freqs)) by positions[t]·freqs[i], or interleaved the pair (2i, 2i+1): the first 2·len(freqs)
// channels of a head. The others stay.
//
//	x [tokens, heads·headDim] · positions [tokens] · freqs [≤ headDim/2] · result [tokens, heads·headDim]
func RoPE(x Mat, headDim int, positions []int, freqs []float64, interleaved bool) Mat {
	check(len(positions) == x.Rows && len(freqs) <= headDim/2 && headDim%2 == 0 && x.Cols%headDim == 0, "rope", x.shape(), headDim, len(positions), len(freqs))
	y := NewMat(x.Rows, x.Cols)
	for t, position := range positions {
		in, out := x.Row(t), y.Row(t)
		copy(out, in)
		for i, freq := range freqs {
			rotation := mgl64.Rotate2D(float64(position) * freq)
			first, second := i, i+len(freqs)
			if interleaved {
				first, second = 2*i, 2*i+1
			}
			for head := 0; head < x.Cols; head += headDim {
				pair := rotation.Mul2x1(mgl64.Vec2{in[head+first], in[head+second]})
				out[head+first], out[head+second] = pair[0], pair[1]
			}
		}
	}
	return y
}
