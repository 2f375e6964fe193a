package op

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Values that are not finite stand at both ends and in between; the largest finite ones beside them do not count.
func TestNonFinite(t *testing.T) {
	eachAndSplit(t, func(t *testing.T, d *vk.Device, split bool) {
		for _, dt := range dtype.All {
			for _, n := range []int{1, 2, 3, 7, 8, 9, 4095, 16_384, 16_387, 700_001} {
				if n < 700_001 == split {
					continue
				}
				t.Run(fmt.Sprint(dt, n), func(t *testing.T) {
					b := newBench(t, d)
					rng := rand.New(rand.NewPCG(uint64(n), 0))
					largest := map[dtype.DType]float32{dtype.F32: math.MaxFloat32, dtype.F16: 65504, dtype.BF16: 0x1.fep127}[dt]
					f := make([]float32, n)
					for i := range f {
						f[i] = []float32{0, 1, largest, -largest, 0x1p-24}[rng.IntN(5)]
					}
					bad := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
					want := uint32(0)
					for i := 0; i < n; i += 1 + rng.IntN(1+n/3) {
						f[i], want = bad[i%3], want+1
					}
					if isFinite(f[n-1]) {
						f[n-1], want = bad[0], want+1
					}
					raw := slices.Repeat([]byte{0xff}, (n*dt.Size()+3)&^3) // what follows the last element is NaN and must not count
					dt.Encode(raw[:n*dt.Size()], f)
					counts := b.words([]uint32{7, 40, 7})
					NonFinite(b.r, counts, 1, b.raw(raw, dt, 1, n))
					if got := b.downloadWords(counts); !slices.Equal(got, []uint32{7, 40 + want, 7}) {
						t.Errorf("counts %d, want 40+%d between two 7", got, want)
					}
				})
			}
		}
	})
}

func isFinite(v float32) bool { return v-v == 0 }

// downloadWords waits for the recorder and reads 32-bit integers back.
func (b *bench) downloadWords(x Tensor) []uint32 {
	b.t.Helper()
	if err := b.r.Wait(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	raw := make([]byte, x.Size())
	if err := b.d.Download(context.Background(), raw, x.View); err != nil {
		b.t.Fatal(err)
	}
	v := make([]uint32, len(raw)/4)
	for i := range v {
		v[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	return v
}

func TestNonFiniteShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	counts, x := b.words([]uint32{0, 0}), b.empty(dtype.F16, 2, 3)
	refused(t, d, "a slot past the end", func(r *vk.Recorder) { NonFinite(r, counts, 2, x) })
	refused(t, d, "a negative slot", func(r *vk.Recorder) { NonFinite(r, counts, -1, x) })
	refused(t, d, "counts in two rows", func(r *vk.Recorder) { NonFinite(r, counts.Reshape(2, 1), 0, x) })
	refused(t, d, "nothing", func(r *vk.Recorder) { NonFinite(r, counts, 0, Tensor{}) })
}

func BenchmarkNonFinite(b *testing.B) {
	f := newBench(b, vktest.Open(b, vk.Options{}))
	x, counts := f.raw(make([]byte, 64<<20), dtype.BF16, 1, 32<<20), f.words([]uint32{0})
	b.SetBytes(x.Size())
	for b.Loop() {
		NonFinite(f.r, counts, 0, x)
		if err := f.r.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
