package dtype

import (
	"math"
	"testing"

	"github.com/x448/float16"
)

func TestRoundTrip(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		d        DType
		in, want float32
	}{
		{F32, 1.1, 1.1}, {F16, 1.5, 1.5}, {F16, 65520, inf}, {F16, 6e-8, 5.9604645e-08}, {BF16, 1 + 1.0/256, 1}, {BF16, 1 + 3.0/256, 1 + 4.0/256},
		{BF16, math.MaxFloat32, inf}, {BF16, nan, nan}, {F16, nan, nan}, {F16, -inf, -inf},
		{BF16, math.Float32frombits(0x7f800001), nan},
	} {
		raw, got := make([]byte, c.d.Size()), make([]float32, 1)
		c.d.Encode(raw, []float32{c.in})
		c.d.Decode(got, raw)
		if got[0] != c.want && !(got[0] != got[0] && c.want != c.want) {
			t.Errorf("%v: %v became %v, want %v", c.d, c.in, got[0], c.want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, d := range All {
		if got, err := Parse(d.String()); err != nil || got != d {
			t.Errorf("Parse(%q) = %v, %v", d.String(), got, err)
		}
	}
	if _, err := Parse("I64"); err == nil {
		t.Error("Parse accepted I64")
	}
}

// TestHalf compares the rounding to half precision with the package float16: near every half, and at random.
func TestHalf(t *testing.T) {
	check := func(bits uint32) {
		t.Helper()
		v := math.Float32frombits(bits)
		if got, want := f16(v), float16.Fromfloat32(v).Bits(); got != want {
			t.Errorf("%v (%#x): %#x, expected %#x", v, bits, got, want)
		}
	}
	for h := range uint32(1 << 16) {
		at := math.Float32bits(float16.Frombits(uint16(h)).Float32())
		for _, step := range []uint32{0, 1, 0xfff, 0x1000, 0x1001, 0x1fff} {
			check(at + step)
			check(at - step)
		}
	}
	x := uint32(1)
	for range 1 << 20 {
		x = x*747796405 + 2891336453
		check(x)
	}
}

func BenchmarkEncodeF16(b *testing.B) {
	src := make([]float32, 1<<16)
	for i := range src {
		src[i] = float32(i-1<<15) / 1e5
	}
	dst := make([]byte, 2*len(src))
	b.SetBytes(int64(len(dst)))
	for b.Loop() {
		F16.Encode(dst, src)
	}
}
