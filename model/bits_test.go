package model

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
)

// TestNonFiniteBits judges every bit pattern of 16 bits, and of f32 those that differ in their first 16, as its value says, wherever it lies.
func TestNonFiniteBits(t *testing.T) {
	for _, d := range dtype.All {
		size := d.Size()
		raw, value := make([]byte, 77*size), make([]float32, 1)
		for pattern := range uint32(1 << 16) {
			at := int(pattern) % 77
			v := raw[at*size : (at+1)*size]
			bits := pattern
			if d == dtype.F32 {
				bits = pattern<<16 | pattern&1
			}
			for k := range v {
				v[k] = byte(bits >> (8 * k))
			}
			d.Decode(value, v)
			want := -1
			if value[0]-value[0] != 0 {
				want = at
			}
			if got := nonFinite(raw, d); got != want {
				t.Fatalf("%v %#x, %v, at %d: %d", d, bits, value[0], at, got)
			}
			clear(v)
		}
	}
}
