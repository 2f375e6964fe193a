package gguf

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestDecode compares with what the Python package gguf 0.19 makes of the same blocks, to the bit: testdata/blocks.py.
func TestDecode(t *testing.T) {
	raw, err := os.ReadFile("testdata/blocks.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]struct{ Blocks, Values []byte }
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	for kind := range decoders {
		g, ok := golden[kind.String()]
		if !ok {
			t.Errorf("%v is read and has no golden", kind)
			continue
		}
		got := make([]float32, len(g.Values)/4)
		if values, bytes := kind.Block(); len(got) == 0 || len(g.Blocks)/bytes*values != len(got) {
			t.Fatalf("%v: %d bytes of blocks for %d values", kind, len(g.Blocks), len(got))
		}
		kind.Decode(got, g.Blocks)
		for i, v := range got {
			if want := binary.LittleEndian.Uint32(g.Values[4*i:]); math.Float32bits(v) != want {
				t.Errorf("%v: value %d is %v, gguf makes %v", kind, i, v, math.Float32frombits(want))
				break
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for kind := range decoders {
		b.Run(kind.String(), func(b *testing.B) {
			const n = 1 << 18
			values, bytes := kind.Block()
			src, dst := make([]byte, n/values*bytes), make([]float32, n)
			b.SetBytes(4 * n)
			for b.Loop() {
				kind.Decode(dst, src)
			}
		})
	}
}
