package op

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Values that are not finite stand at both ends and in between; the largest finite ones beside them do not count, nor does the NaN that
// fills the last word. The counts beside the one that grows stay.
func nonfiniteTable() optest.Table {
	return optest.Table{Op: "nonfinite", Cases: func() (cases []optest.Case) {
		for _, dt := range dtype.All {
			for _, n := range []int{1, 2, 3, 7, 8, 9, 4095, 16_384, 16_387, 700_001} {
				x, bad := nonfinite(n, dt)
				cases = append(cases, nonfiniteCase(x, bad, dt, n == 700_001))
			}
		}
		return cases
	}, Benchmarks: func() []optest.Case { return []optest.Case{nonfiniteCase(ref.NewMat(1, 32<<20), 0, dtype.BF16, false)} }}
}

func nonfiniteCase(x ref.Mat, bad int, dt dtype.DType, split bool) optest.Case {
	return optest.Case{
		Name: optest.Shape(x.Rows, x.Cols, dt), In: []optest.Input{{Mat: x, DType: dt}},
		Out:    []optest.Output{{Rows: 1, Cols: 3, Words: true, Start: vector(7, 40, 7)}},
		Record: func(r *vk.Recorder, out, in []optest.Tensor) { NonFinite(r, Tensor(out[0]), 1, Tensor(in[0])) },
		Want:   func([]ref.Mat) []ref.Mat { return one(vector(math.NaN(), float64(40+bad), math.NaN())) },
		Split:  split,
	}
}

// nonfinite are n values, of which bad do not count as finite.
func nonfinite(n int, dt dtype.DType) (x ref.Mat, bad int) {
	rng := rand.New(rand.NewPCG(uint64(n), 0))
	largest := map[dtype.DType]float64{dtype.F32: math.MaxFloat32, dtype.F16: 65504, dtype.BF16: 0x1.fep127}[dt]
	x = ref.NewMat(1, n)
	for i := range x.Data {
		x.Data[i] = []float64{0, 1, largest, -largest, 0x1p-24}[rng.IntN(5)]
	}
	all := []float64{math.NaN(), math.Inf(1), math.Inf(-1)}
	for i := 0; i < n; i += 1 + rng.IntN(1+n/3) {
		x.Data[i], bad = all[i%3], bad+1
	}
	if isFinite(float32(x.Data[n-1])) {
		x.Data[n-1], bad = all[0], bad+1
	}
	return x, bad
}

func TestNonFinite(t *testing.T) { nonfiniteTable().Test(t) }

func BenchmarkNonFinite(b *testing.B) { nonfiniteTable().Benchmark(b) }

func isFinite(v float32) bool { return v-v == 0 }

func TestNonFiniteShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	counts, x := b.words([]uint32{0, 0}), b.empty(dtype.F16, 2, 3)
	refused(t, d, "a slot past the end", func(r *vk.Recorder) { NonFinite(r, counts, 2, x) })
	refused(t, d, "a negative slot", func(r *vk.Recorder) { NonFinite(r, counts, -1, x) })
	refused(t, d, "counts in two rows", func(r *vk.Recorder) { NonFinite(r, counts.Reshape(2, 1), 0, x) })
	refused(t, d, "nothing", func(r *vk.Recorder) { NonFinite(r, counts, 0, Tensor{}) })
}
