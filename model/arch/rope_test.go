package arch

import (
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/ref"
)

func TestRopeFrequencies(t *testing.T) {
	for _, s := range []RopeScaling{{Type: RopeNone}, {Type: RopeLinear, Factor: 2.5}, {Type: RopeLlama3, Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPosition: 8192},
		{Type: RopeLlama3, Factor: 32, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPosition: 8192}, {Type: RopeDynamic, Factor: 4},
		{Type: RopeYarn, Factor: 4, OriginalMaxPosition: 32768, BetaFast: 32, BetaSlow: 1}, {Type: RopeYarn, Factor: 40, OriginalMaxPosition: 64, BetaFast: 4, BetaSlow: 3, Untruncated: true},
		{Type: RopeYarn, Factor: 2, OriginalMaxPosition: 1, BetaFast: 32, BetaSlow: 1}} {
		for _, headDim := range []int{2, 20, 64, 128} {
			reference := ref.RopeScaling{Type: string(s.Type), Factor: s.Factor, LowFreqFactor: s.LowFreqFactor, HighFreqFactor: s.HighFreqFactor, OriginalMaxPosition: s.OriginalMaxPosition,
				BetaFast: s.BetaFast, BetaSlow: s.BetaSlow, Untruncated: s.Untruncated}
			if s.Type == RopeNone {
				reference.Type = ""
			}
			got, want := RopeFrequencies(headDim, 5e5, s, 9), ref.RopeFrequencies(headDim, 5e5, reference)
			for i, w := range want {
				if len(got) != len(want) || math.Abs(got[i]/w-1) > 1e-13 { // the ramp of yarn adds and takes away again
					t.Fatalf("%v, head_dim %d: frequencies %v, want %v", s, headDim, got, want)
				}
			}
		}
	}
}

// Longrope divides by the factors of the sequence's length, and scales cosines and sines.
func TestLongRope(t *testing.T) {
	c := &Config{HeadDim: 6, RopeTheta: 1e4, RopeScaling: RopeScaling{Type: RopeLong, OriginalMaxPosition: 8, Short: []float64{1, 1.5, 2}, Long: []float64{3, 40, 500}, AttentionFactor: 1.25}}
	reference := ref.RopeScaling{Type: "longrope", OriginalMaxPosition: 8, Short: c.RopeScaling.Short, Long: c.RopeScaling.Long}
	for _, length := range []int{1, 8, 9, 100} {
		want, table := ref.RopeFrequencies(6, 1e4, reference.For(length)), c.RopeTable(GlobalRope, 11, length)
		for i, f := range want {
			if cos, sin := table[10*6+i], table[10*6+3+i]; math.Abs(float64(cos)-1.25*math.Cos(10*f)) > 1e-7 || math.Abs(float64(sin)-1.25*math.Sin(10*f)) > 1e-7 {
				t.Errorf("length %d, pair %d: %v, %v, want %v, %v", length, i, cos, sin, 1.25*math.Cos(10*f), 1.25*math.Sin(10*f))
			}
		}
	}
	if c.RopeSwitch() != 8 {
		t.Errorf("all positions are turned otherwise beyond %d, want 8", c.RopeSwitch())
	}
}

func TestRopeTable(t *testing.T) {
	c := &Config{HeadDim: 6, RopeTheta: 1e4, RopeScaling: RopeScaling{Type: RopeLinear, Factor: 4}}
	table := c.RopeTable(GlobalRope, 131072, 131072)
	if len(table) != 131072*6 {
		t.Fatalf("%d values", len(table))
	}
	for _, p := range []int{0, 1, 77, 131071} {
		for i, f := range RopeFrequencies(6, 1e4, c.RopeScaling, 1) {
			if cos, sin := table[p*6+i], table[p*6+3+i]; cos != float32(math.Cos(float64(p)*f)) || sin != float32(math.Sin(float64(p)*f)) {
				t.Errorf("position %d, pair %d: %v, %v", p, i, cos, sin)
			}
		}
	}
}
