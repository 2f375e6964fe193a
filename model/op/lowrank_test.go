package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func lowRankCase(rows, cols, rank int, dt dtype.DType) optest.Case {
	return optest.Case{
		Name: optest.Shape(rows, cols, rank, dt), Of: dt,
		In:  []optest.Input{{Mat: random(rows, cols), DType: dt}, {Mat: random(rank, cols), DType: dtype.F32}, {Mat: block(random(rank, rows+1), 0, rank, 1, rows+1), DType: dtype.F32}},
		Out: []optest.Output{{DType: dt, Rows: rows, Cols: cols}},
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			LowRank(r, Tensor(out[0]), Tensor(in[0]), Tensor(in[1]), Tensor(in[2]))
		},
		Want:  func(in []ref.Mat) []ref.Mat { return one(ref.LowRank(in[0], in[1], in[2])) },
		Large: rows*cols > 1<<18, Flops: 2 * float64(rows*cols*rank),
	}
}

func lowRankTable() optest.Table {
	return optest.Table{Op: "lowrank", Bound: optest.Bound{Max: 2e-6, Why: "a rounding for each of at most 33 sums", Rounded: true}, Tiers: true,
		Cases: func() (cases []optest.Case) {
			for _, c := range []struct {
				rows, cols, rank int
				dtype            dtype.DType
			}{
				{1, 1, 1, dtype.BF16}, {1, 2, 3, dtype.F16}, {3, 1, 1, dtype.F32}, {5, 77, 4, dtype.F16}, {7, 257, 16, dtype.BF16}, {64, 384, 16, dtype.BF16},
				{24, 120, 33, dtype.F16}, {513, 1031, 2, dtype.F32}, {513, 1032, 5, dtype.BF16}, {514, 1031, 3, dtype.BF16},
			} {
				cases = append(cases, lowRankCase(c.rows, c.cols, c.rank, c.dtype))
			}
			return cases
		}, Benchmarks: func() []optest.Case { return []optest.Case{lowRankCase(1536, 576, 16, dtype.BF16)} }}
}

func TestLowRank(t *testing.T) { lowRankTable().Test(t) }

func BenchmarkLowRank(b *testing.B) { lowRankTable().Benchmark(b) }

func TestLowRankRefuses(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	y, w, a, bt := b.empty(dtype.BF16, 4, 6), b.empty(dtype.BF16, 4, 6), b.empty(dtype.F32, 2, 6), b.empty(dtype.F32, 2, 4)
	refused(t, d, "other rows", func(r *vk.Recorder) { LowRank(r, y.RowRange(0, 3), w, a, bt) })
	refused(t, d, "another dtype", func(r *vk.Recorder) { LowRank(r, b.empty(dtype.F32, 4, 6), w, a, bt) })
	refused(t, d, "B as it is", func(r *vk.Recorder) { LowRank(r, y, w, a, b.empty(dtype.F32, 4, 2)) })
	refused(t, d, "another rank", func(r *vk.Recorder) { LowRank(r, y, w, a, b.empty(dtype.F32, 3, 4)) })
	refused(t, d, "16-bit A", func(r *vk.Recorder) { LowRank(r, y, w, b.empty(dtype.BF16, 2, 6), bt) })
	refused(t, d, "no A", func(r *vk.Recorder) { LowRank(r, y, w, Tensor{}, bt) })
}
