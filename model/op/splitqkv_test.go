package op

import (
	"context"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// splitqkvBound is of splitqkv.
var splitqkvBound = optest.Bound{Max: 2e-6, Why: "rmsnorm, then rope"}

// qkvCase is a SplitQKV of rows rows whose k and v have a row more than it fills.
type qkvCase struct {
	QKVShape
	rows, positions int
	norm            bool
	over            bool // the norm is over the heads of a row together
	still           bool // no rotary positions
	dtype           dtype.DType
}

// qkvOperands are the tensors of in that a case has: qkv, qkv of its last rows, the positions and the norms.
func (c qkvCase) qkvOperands(in []Tensor) (qkv, last, table, qNorm, kNorm Tensor) {
	qkv, last, in = in[0], in[1], in[2:]
	if !c.still {
		table, in = in[0], in[1:]
	}
	if c.norm {
		qNorm, kNorm = in[0], in[1]
	}
	return qkv, last, table, qNorm, kNorm
}

// of is the case, with its last rows once more, alone, if they are in one window.
func (c qkvCase) of() optest.Case {
	dim, _ := c.Rotary.of(c.HeadDim)
	freqs := ref.RopeFrequencies(dim, 1e4, ref.RopeScaling{})
	positions := positionsOf(c.rows, c.Window, c.Start)
	qkv := random(c.rows, (c.Heads+2*c.KVHeads)*c.HeadDim)
	n := min(2, c.rows)
	first := c.rows - n
	inWindow := first%c.Window+n <= c.Window
	in := f32s(qkv, window(qkv, first, n), ropeTable(freqs, c.positions))
	if c.still {
		in, freqs = in[:2], nil
	}
	if c.norm {
		qCols, kCols := c.HeadDim, c.HeadDim
		if c.over {
			qCols, kCols = c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
		}
		in = append(in, optest.Input{Mat: random(1, qCols), DType: c.dtype}, optest.Input{Mat: block(random(1, kCols+1), 0, 1, 1, kCols+1), DType: c.dtype})
	}
	qCols, cols, deep := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim, c.Row+c.rows+1
	whole := []optest.Output{{Rows: c.rows, Cols: qCols}, {Rows: deep, Cols: cols}, {Rows: deep, Cols: cols, Exact: true}}
	one := optest.Case{
		Name: optest.Shape(c.rows, c.positions, c.QKVShape, c.norm, c.over, c.still, c.dtype), In: in, Out: whole,
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			o := tensors(out)
			qkv, last, table, qNorm, kNorm := c.qkvOperands(tensors(in))
			SplitQKV(r, o[0], o[1], o[2], qkv, table, qNorm, kNorm, c.QKVShape)
			if len(o) > 3 {
				alone := c.QKVShape
				alone.Start, alone.Row = positions[first], 0
				SplitQKV(r, o[3], o[4], o[5], last, table, qNorm, kNorm, alone)
			}
		},
		Want: func(in []ref.Mat) []ref.Mat {
			var qNorm, kNorm []float64
			if c.norm {
				qNorm, kNorm = weightsOf(in[len(in)-2], c.PlusOne), weightsOf(in[len(in)-1], c.PlusOne)
			}
			q, k, v := ref.SplitQKV(in[0], c.Heads, c.KVHeads, c.HeadDim, positions, freqs, c.Rotary.Interleaved, qNorm, kNorm, float64(c.Eps))
			before, behind := kept(c.Row, cols), kept(1, cols)
			return []ref.Mat{q, ref.ConcatRows(before, k, behind), ref.ConcatRows(before, v, behind), window(q, first, n), window(k, first, n), window(v, first, n)}
		},
	}
	if inWindow {
		one.Out = append(one.Out, optest.Output{Rows: n, Cols: qCols}, optest.Output{Rows: n, Cols: cols}, optest.Output{Rows: n, Cols: cols, Exact: true})
		one.Alone = []optest.Part{{Whole: 0, Part: 3, Row: first}, {Whole: 1, Part: 4, Row: c.Row + first}, {Whole: 2, Part: 5, Row: c.Row + first}}
	}
	return one
}

func splitqkvTable() optest.Table {
	return optest.Table{Op: "splitqkv", Bound: splitqkvBound, Tiers: true, SplitTiers: []vk.Tier{vk.Baseline, vk.CoopMatrix}, Cases: func() (cases []optest.Case) {
		for _, c := range []qkvCase{
			{QKVShape{1, 1, 2, 1, 0, 0, 0, false, Rotary{}}, 1, 1, false, false, false, dtype.F32},
			{QKVShape{4, 2, 16, 5, 0, 0, 0, false, Rotary{}}, 15, 5, false, false, false, dtype.F32},
			{QKVShape{3, 1, 20, 7, 5, 3, 1e-5, false, Rotary{}}, 7, 12, true, false, false, dtype.BF16},
			{QKVShape{6, 3, 22, 3, 1, 2, 1e-6, false, Rotary{}}, 9, 4, true, false, false, dtype.F16},
			{QKVShape{8, 4, 64, 9, 250, 250, 0, false, Rotary{}}, 1, 251, false, false, false, dtype.F32},
			{QKVShape{5, 5, 24, 4, 2, 1, 1e-6, false, Rotary{}}, 8, 6, true, false, false, dtype.F32},
			{QKVShape{7, 1, 80, 50, 0, 0, 1e-6, false, Rotary{}}, 33, 33, true, false, false, dtype.F16},
			{QKVShape{4, 2, 128, 40, 7, 9, 1e-6, false, Rotary{}}, 5, 12, true, false, false, dtype.BF16},
			{QKVShape{2, 1, 254, 2, 0, 1, 1e-5, false, Rotary{}}, 2, 2, true, false, false, dtype.F32},
			{QKVShape{2, 1, 256, 1, 3, 0, 1e-5, false, Rotary{}}, 3, 4, true, false, false, dtype.F32},
			{QKVShape{5, 5, 64, 7, 3, 1, 0, false, Rotary{}}, 14, 10, false, false, true, dtype.F32},
			{QKVShape{4, 2, 20, 9, 0, 2, 1e-6, false, Rotary{}}, 9, 9, true, false, true, dtype.BF16},
			{QKVShape{3, 1, 24, 7, 5, 3, 1e-5, true, Rotary{}}, 7, 12, true, false, false, dtype.BF16},
			{QKVShape{4, 2, 32, 7, 5, 3, 1e-5, false, Rotary{16, false}}, 7, 12, true, true, false, dtype.F16},
			{QKVShape{4, 2, 20, 9, 0, 2, 1e-6, true, Rotary{10, false}}, 9, 9, true, true, false, dtype.F32},
			{QKVShape{6, 3, 22, 3, 1, 2, 1e-6, true, Rotary{12, true}}, 9, 4, true, false, false, dtype.F16},
			{QKVShape{5, 5, 64, 7, 3, 1, 1e-5, true, Rotary{32, true}}, 14, 10, true, false, false, dtype.BF16},
			{QKVShape{3, 1, 16, 7, 3, 1, 0, false, Rotary{0, true}}, 14, 10, false, false, false, dtype.F32},
			{QKVShape{2, 1, 24, 7, 3, 1, 0, false, Rotary{18, false}}, 14, 10, false, false, false, dtype.F32},
			{QKVShape{8, 2, 64, 30, 0, 0, 1e-6, false, Rotary{}}, 30, 30, true, true, false, dtype.F32},
			{QKVShape{3, 1, 6, 9000, 1, 2, 1e-6, false, Rotary{}}, 18000, 9001, true, false, false, dtype.F16}, // beyond 1 MiB: rows
			{QKVShape{1, 1, 8, 45050, 1, 3, 0, false, Rotary{}}, 90100, 45051, false, false, false, dtype.F32}, // windows of which a binding does not hold the positions
			{QKVShape{2, 1, 8, 45050, 1, 3, 0, false, Rotary{}}, 90100, 45051, false, false, true, dtype.F32},
			{QKVShape{2, 1, 8, 2, 131070, 40000, 0, false, Rotary{}}, 2, 131072, false, false, false, dtype.F32}, // the table, and k
		} {
			one := c.of()
			one.Split = c.positions > 9000
			cases = append(cases, one)
		}
		return cases
	}, Benchmarks: func() (cases []optest.Case) { // a prompt, and a token
		for _, rows := range []int{256, 1} {
			for _, norm := range []bool{false, true} {
				one := qkvCase{QKVShape{8, 4, 64, rows, 0, 0, 1e-6, false, Rotary{}}, rows, rows, norm, false, false, dtype.F32}.of()
				one.Out = one.Out[:3]
				cases = append(cases, one)
			}
		}
		return cases
	}}
}

func TestSplitQKV(t *testing.T) { splitqkvTable().Test(t) }

func BenchmarkSplitQKV(b *testing.B) { splitqkvTable().Benchmark(b) }

func TestSplitQKVShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	q, k, qkv, table, norm := b.empty(dtype.F32, 4, 24), b.empty(dtype.F32, 6, 8), b.empty(dtype.F32, 4, 40), b.empty(dtype.F32, 6, 8), b.empty(dtype.F16, 1, 8)
	good := QKVShape{3, 1, 8, 4, 2, 2, 1e-6, false, Rotary{}}
	for what, change := range map[string]func(*QKVShape){
		"positions past the table": func(s *QKVShape) { s.Start = 3 },
		"rows past the keys":       func(s *QKVShape) { s.Row = 3 },
		"a negative row":           func(s *QKVShape) { s.Row = -1 },
		"other heads":              func(s *QKVShape) { s.Heads = 2 },
		"no window":                func(s *QKVShape) { s.Window = 0 },
		"no shape":                 func(s *QKVShape) { *s = QKVShape{} },
	} {
		s := good
		change(&s)
		refused(t, d, what, func(r *vk.Recorder) { SplitQKV(r, q, k, k, qkv, table, norm, norm, s) })
	}
	for what, rotary := range map[string]Rotary{"an odd number of turned channels": {Dim: 3}, "more of them than a head has": {Dim: 10}, "a table of others": {Dim: 6}} {
		s := good
		s.Rotary = rotary
		refused(t, d, what, func(r *vk.Recorder) { SplitQKV(r, q, k, k, qkv, table, norm, norm, s) })
	}
	refused(t, d, "16-bit keys", func(r *vk.Recorder) { SplitQKV(r, q, Of(k.View, dtype.F16, 6, 8), k, qkv, table, norm, norm, good) })
	refused(t, d, "one norm", func(r *vk.Recorder) { SplitQKV(r, q, k, k, qkv, table, norm, Tensor{}, good) })
	refused(t, d, "norms of two dtypes", func(r *vk.Recorder) { SplitQKV(r, q, k, k, qkv, table, norm, Of(k.View, dtype.F32, 1, 8), good) })
	SplitQKV(b.r, q, k, b.empty(dtype.F32, 6, 8), qkv, table, norm, norm, good)
	if err := b.r.Wait(context.Background()); err != nil {
		t.Error(err)
	}
}
