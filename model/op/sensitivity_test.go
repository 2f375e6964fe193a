package op

import (
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// sensitivityBound is of sensitivity.
var sensitivityBound = optest.Bound{Max: 3e-6, Why: "two abssums and a sum of their products"}

// columnsumBound is of columnsum.
var columnsumBound = optest.Bound{Max: 2e-6, Why: "abssum, of terms that nearly cancel: the partial sums are as large as the result's deviation"}

// abssumBound is of abssum.
var abssumBound = optest.Bound{Max: 1e-6, Why: "some hundred f32 additions in a row, their roundings random"}

// windowSums are sums over every window of rows.
func windowSums(x ref.Mat, window int, sum func(x ref.Mat) []float64) ref.Mat {
	y := ref.NewMat(0, x.Cols)
	for first := 0; first < x.Rows; first += window {
		y.Data = append(y.Data, sum(block(x, first, first+window, 0, x.Cols))...)
		y.Rows++
	}
	return y
}

// What a device that binds 1 MiB cuts into pieces gives the bits that it gives in one.
func abssumTable() optest.Table {
	return optest.Table{Op: "abssum", Bound: abssumBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			windows, window, channels int
			split                     bool
		}{
			{1, 1, 1, false}, {3, 65, 127, false}, {2, 64, 64, false}, {5, 1, 130, false}, {1, 32768, 3, false}, {2, 33000, 2, false}, {4, 512, 128, false},
			{7, 100, 1001, true}, {2, 1500, 257, true},
		} {
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.windows*c.window, c.channels, c.window), In: f32s(random(c.windows*c.window, c.channels)), Out: likes(ref.NewMat(c.windows, c.channels)),
				Record: func(r *vk.Recorder, out, in []optest.Tensor) { AbsSum(r, Tensor(out[0]), Tensor(in[0]), c.window) },
				Want:   func(in []ref.Mat) []ref.Mat { return one(windowSums(in[0], c.window, ref.AbsSum)) },
				Split:  c.split, Measured: c.windows == 4,
			})
		}
		return cases
	}}
}

func TestAbsSum(t *testing.T) { abssumTable().Test(t) }

func BenchmarkAbsSum(b *testing.B) { abssumTable().Benchmark(b) }

func squaresumTable() optest.Table {
	return optest.Table{Op: "squaresum", Bound: abssumBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			windows, window, channels int
			dtype                     dtype.DType
		}{{1, 1, 1, dtype.F32}, {3, 65, 127, dtype.F32}, {2, 64, 64, dtype.F32}, {5, 1, 130, dtype.F32}, {1, 120, 127, dtype.F16}, {1, 200, 384, dtype.BF16}, {1, 40000, 3, dtype.BF16}} {
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.windows*c.window, c.channels, c.window, c.dtype), Of: c.dtype, In: []optest.Input{{Mat: random(c.windows*c.window, c.channels), DType: c.dtype}},
				Out:      likes(ref.NewMat(c.windows, c.channels)),
				Record:   func(r *vk.Recorder, out, in []optest.Tensor) { SquareSum(r, Tensor(out[0]), Tensor(in[0]), c.window) },
				Want:     func(in []ref.Mat) []ref.Mat { return one(windowSums(in[0], c.window, ref.SquareSum)) },
				Measured: c.window == 200, Flops: 2 * float64(c.windows*c.window*c.channels),
			})
		}
		return cases
	}}
}

func TestSquareSum(t *testing.T) { squaresumTable().Test(t) }

func BenchmarkSquareSum(b *testing.B) { squaresumTable().Benchmark(b) }

// columns is a matrix whose columns are added up.
type columns struct {
	rows, cols int
	dtype      dtype.DType
}

// splitColumns are cut into pieces where a binding holds 1 MiB.
var splitColumns = []columns{{2000, 257, dtype.F32}, {1100, 1407, dtype.BF16}, {1100, 1408, dtype.BF16}}

// columnCases are those of small matrices and of splitColumns.
func columnCases(small []columns, of func(c columns) optest.Case) (cases []optest.Case) {
	for i, c := range slices.Concat(small, splitColumns) {
		one := of(c)
		one.Name, one.Of = optest.Shape(c.rows, c.cols, c.dtype), c.dtype
		one.Split, one.Measured = i >= len(small), i >= len(small)
		cases = append(cases, one)
	}
	return cases
}

func columnabssumTable() optest.Table {
	return optest.Table{Op: "columnabssum", Bound: abssumBound, Cases: func() []optest.Case {
		small := []columns{{1, 1, dtype.BF16}, {120, 127, dtype.F16}, {65, 384, dtype.BF16}, {200, 33, dtype.F32}, {32768, 3, dtype.BF16}, {60001, 1, dtype.F16}}
		return columnCases(small, func(c columns) optest.Case {
			return optest.Case{
				In: []optest.Input{{Mat: random(c.rows, c.cols), DType: c.dtype}}, Out: likes(ref.NewMat(1, c.cols)),
				Record: func(r *vk.Recorder, out, in []optest.Tensor) { ColumnAbsSum(r, Tensor(out[0]), Tensor(in[0])) },
				Want:   func(in []ref.Mat) []ref.Mat { return one(vector(ref.ColumnAbsSum(in[0])...)) },
			}
		})
	}}
}

func TestColumnAbsSum(t *testing.T) { columnabssumTable().Test(t) }

func BenchmarkColumnAbsSum(b *testing.B) { columnabssumTable().Benchmark(b) }

// onceAndTwice is a row, and the same added to itself.
func onceAndTwice(x []float64) []ref.Mat {
	y := ref.NewMat(1, len(x))
	for i, v := range x {
		y.Data[i] = 2 * v
	}
	return []ref.Mat{vector(x...), y}
}

// The second sums are accumulated.
func columnsumTable() optest.Table {
	return optest.Table{Op: "columnsum", Bound: columnsumBound, Tiers: true, Cases: func() []optest.Case {
		small := []columns{{1, 1, dtype.BF16}, {120, 127, dtype.F16}, {65, 384, dtype.BF16}, {200, 33, dtype.F32}, {300, 36, dtype.F32}, {65536, 4, dtype.F32}, {60001, 1, dtype.F16}}
		return columnCases(small, func(c columns) optest.Case {
			sums := ref.NewMat(1, c.cols)
			return optest.Case{
				In: []optest.Input{{Mat: random(c.rows, c.cols), DType: c.dtype}}, Out: likes(sums, sums),
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					ColumnSum(r, Tensor(out[0]), Tensor(in[0]), false)
					ColumnSum(r, Tensor(out[1]), Tensor(in[0]), false)
					ColumnSum(r, Tensor(out[1]), Tensor(in[0]), true)
				},
				Want: func(in []ref.Mat) []ref.Mat { return onceAndTwice(ref.ColumnSum(in[0])) },
			}
		})
	}, Benchmarks: func() (cases []optest.Case) {
		for _, c := range [][2]int{{2048, 384}, {2048, 128}} {
			cases = append(cases, optest.Case{
				Name: optest.Shape(c[0], c[1]), In: f32s(random(c[0], c[1])), Out: likes(ref.NewMat(1, c[1])),
				Record: func(r *vk.Recorder, out, in []optest.Tensor) { ColumnSum(r, Tensor(out[0]), Tensor(in[0]), false) },
			})
		}
		return cases
	}}
}

func TestColumnSum(t *testing.T) { columnsumTable().Test(t) }

func BenchmarkColumnSum(b *testing.B) { columnsumTable().Benchmark(b) }

// It accumulates, from 0 on.
func columnabsdotTable() optest.Table {
	return optest.Table{Op: "columnabsdot", Bound: abssumBound, Tiers: true, Cases: func() []optest.Case {
		small := []columns{{1, 1, dtype.BF16}, {120, 127, dtype.F16}, {65, 384, dtype.BF16}, {200, 33, dtype.F32}, {40, 36, dtype.F32}, {33000, 8, dtype.BF16}}
		return columnCases(small, func(c columns) optest.Case {
			g := block(random(c.rows, c.cols+1), 0, c.rows, 1, c.cols+1)
			sums := optest.Output{Rows: 1, Cols: c.cols, Start: ref.NewMat(1, c.cols)}
			return optest.Case{
				In: []optest.Input{{Mat: random(c.rows, c.cols), DType: c.dtype}, {Mat: g}}, Out: []optest.Output{sums, sums},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					for _, sums := range []optest.Tensor{out[0], out[1], out[1]} {
						ColumnAbsDot(r, Tensor(sums), Tensor(in[0]), Tensor(in[1]))
					}
				},
				Want: func(in []ref.Mat) []ref.Mat { return onceAndTwice(ref.ColumnAbsDot(in[0], in[1])) },
			}
		})
	}}
}

func TestColumnAbsDot(t *testing.T) { columnabsdotTable().Test(t) }

func BenchmarkColumnAbsDot(b *testing.B) { columnabsdotTable().Benchmark(b) }

func sensitivityTable() optest.Table {
	return optest.Table{Op: "sensitivity", Bound: sensitivityBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			windows, window, kvHeads, group, headDim, hidden int // headDim 0: neurons, kvHeads of them
			dtype                                            dtype.DType
		}{
			{1, 1, 1, 1, 0, 1, dtype.F32}, {3, 5, 127, 1, 0, 40, dtype.BF16}, {2, 9, 3, 4, 20, 33, dtype.F16},
			{4, 7, 1, 5, 24, 120, dtype.BF16}, {300, 1, 3, 3, 80, 16, dtype.F32}, {400, 1, 701, 1, 0, 8, dtype.F16},
		} {
			width := c.group * max(c.headDim, 1)
			channels := c.kvHeads * width
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.windows*c.window, channels, width, c.hidden, c.dtype), Of: c.dtype,
				In:  []optest.Input{{Mat: random(c.windows*c.window, channels)}, {Mat: random(c.hidden, channels), DType: c.dtype}},
				Out: likes(ref.NewMat(1, c.kvHeads)),
				Extra: func(b *optest.Bench) []optest.Tensor {
					return []optest.Tensor{b.Empty(dtype.F32, c.windows, channels), b.Empty(dtype.F32, 1, channels)}
				},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					o := tensors(out)
					AbsSum(r, o[1], Tensor(in[0]), c.window)
					ColumnAbsSum(r, o[2], Tensor(in[1]))
					Sensitivity(r, o[0], o[1], o[2], width, c.windows*c.window)
				},
				Want: func(in []ref.Mat) []ref.Mat {
					if c.headDim > 0 {
						return one(vector(ref.HeadGroupSensitivity(in[0], in[1], c.kvHeads, c.group, c.headDim)...))
					}
					return one(vector(ref.NeuronSensitivity(in[0], in[1])...))
				},
				Large: c.windows >= 300, Measured: c.windows >= 300,
			})
		}
		return cases
	}}
}

func TestSensitivity(t *testing.T) { sensitivityTable().Test(t) }

func BenchmarkSensitivity(b *testing.B) { sensitivityTable().Benchmark(b) }

func TestSensitivityShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, sums, columns, s := b.empty(dtype.F32, 12, 10), b.empty(dtype.F32, 3, 10), b.empty(dtype.F32, 1, 10), b.empty(dtype.F32, 1, 5)
	refused(t, d, "a window that does not divide the rows", func(r *vk.Recorder) { AbsSum(r, sums, x, 5) })
	refused(t, d, "16-bit activations", func(r *vk.Recorder) { AbsSum(r, sums, Of(x.View, dtype.BF16, 12, 10), 4) })
	refused(t, d, "16-bit sums", func(r *vk.Recorder) { ColumnAbsSum(r, Of(columns.View, dtype.F16, 1, 10), x) })
	refused(t, d, "16-bit sums of squares", func(r *vk.Recorder) { SquareSum(r, Of(sums.View, dtype.F16, 3, 10), x, 4) })
	refused(t, d, "no window", func(r *vk.Recorder) { AbsSum(r, sums, x, 0) })
	refused(t, d, "other columns", func(r *vk.Recorder) { ColumnAbsSum(r, columns, x.Reshape(10, 12)) })
	refused(t, d, "16-bit column sums", func(r *vk.Recorder) { ColumnSum(r, Of(columns.View, dtype.F16, 1, 10), x, false) })
	refused(t, d, "a gradient of another shape", func(r *vk.Recorder) { ColumnAbsDot(r, columns, x, x.RowRange(0, 11)) })
	refused(t, d, "a gradient of 16 bits", func(r *vk.Recorder) { ColumnAbsDot(r, columns, x, Of(x.View, dtype.F16, 12, 10)) })
	refused(t, d, "absent weight", func(r *vk.Recorder) { ColumnAbsSum(r, columns, Tensor{}) })
	refused(t, d, "a width that does not divide the channels", func(r *vk.Recorder) { Sensitivity(r, Of(s.View, dtype.F32, 1, 3), sums, columns, 3, 12) })
	refused(t, d, "no tokens", func(r *vk.Recorder) { Sensitivity(r, s, sums, columns, 2, 0) })
	refused(t, d, "no width", func(r *vk.Recorder) { Sensitivity(r, s, sums, columns, 0, 12) })
}
