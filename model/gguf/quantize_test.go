package gguf

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"testing"
)

// values are those of testdata/quants.py.
func values(n int, seed uint64) []float32 {
	out, x := make([]float32, n), seed
	for i := range out {
		x += 0x9E3779B97F4A7C15
		z := x
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		z ^= z >> 31
		block := i / block256
		power := -3
		if block%2 == 1 {
			power = -(block % 20)
		}
		if z>>61 > 0 && block%7 != 3 {
			out[i] = float32(math.Ldexp((float64(z&0xFFFFFF)-0x800000)/0x800000, power))
		}
	}
	return out
}

// encoded is Encode's output for rows of a type.
func encoded(t testing.TB, to Type, src []float32) []byte {
	block, bytes := to.Block()
	dst := make([]byte, len(src)/block*bytes)
	if err := to.Encode(dst, src); err != nil {
		t.Fatal(err)
	}
	return dst
}

// Every type that is written has the bits of gguf 0.19 or of ggml's C: testdata/quants.py.
func TestEncode(t *testing.T) {
	raw, err := os.ReadFile("testdata/quants.json")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	src := values(64*block256, 1)
	for _, to := range Written {
		sum := sha256.Sum256(encoded(t, to, src))
		if got := hex.EncodeToString(sum[:]); got != want[to.String()] {
			t.Errorf("%v: SHA-256 %s, ggml's is %s", to, got, want[to.String()])
		}
	}
	if len(want) != len(Written) {
		t.Errorf("%d types in quants.json, %d are written", len(want), len(Written))
	}
}

// What cannot be stored is refused, and nothing that can.
func TestEncodeRefuses(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, to := range Written {
		for _, c := range []struct {
			value float32
			ok    bool
		}{{inf, false}, {-inf, false}, {nan, false}, {65519, true}, {-65519, true}, {65520, to != F16}, {524159, to != F16}, {524160, to != F16 && to != Q4_0},
			{1e30, to == F32 || to == BF16}} {
			src := make([]float32, block256)
			src[77] = c.value
			block, bytes := to.Block()
			if err := to.Encode(make([]byte, len(src)/block*bytes), src); (err == nil) != c.ok {
				t.Errorf("%v: %v: error %v", to, c.value, err)
			}
		}
	}
	if err := Q4_1.Encode(nil, nil); err == nil {
		t.Error("Q4_1 is written")
	}
}

func BenchmarkEncode(b *testing.B) {
	src := values(1<<20, 1)
	for _, to := range Written {
		b.Run(to.String(), func(b *testing.B) {
			b.SetBytes(int64(4 * len(src)))
			for b.Loop() {
				encoded(b, to, src)
			}
		})
	}
}
