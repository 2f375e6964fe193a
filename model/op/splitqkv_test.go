package op

import (
	"context"
	"fmt"
	"slices"
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
	still           bool // no rotary positions
	dtype           dtype.DType
}

// check compares what SplitQKV does on a device with the reference, and two rows of it, alone, with their bits among the others.
func (c qkvCase) check(t *testing.T, d *vk.Device) {
	b := newBench(t, d)
	freqs := ref.RopeFrequencies(c.HeadDim, 1e4, ref.RopeScaling{})
	positions := make([]int, c.rows)
	for row := range positions {
		positions[row] = c.Start + row%c.Window
	}
	qkv := random(c.rows, (c.Heads+2*c.KVHeads)*c.HeadDim)
	from, table := b.upload(qkv, dtype.F32), b.upload(ropeTable(freqs, c.positions), dtype.F32)
	if c.still {
		table, freqs = Tensor{}, nil
	}
	var qNorm, kNorm Tensor
	var qWeights, kWeights []float64
	if c.norm {
		qw, kw := random(1, c.HeadDim), random(1, c.HeadDim+1)
		kw = block(kw, 0, 1, 1, kw.Cols)
		qNorm, kNorm = b.upload(qw, c.dtype), b.upload(kw, c.dtype)
		qWeights, kWeights = qw.Data, kw.Data
	}
	cols := c.KVHeads * c.HeadDim
	q, k, v := b.empty(dtype.F32, c.rows, c.Heads*c.HeadDim), b.empty(dtype.F32, c.Row+c.rows+1, cols), b.empty(dtype.F32, c.Row+c.rows+1, cols)
	SplitQKV(b.r, q, k, v, from, table, qNorm, kNorm, c.QKVShape)

	wantQ, wantK, wantV := ref.SplitQKV(qkv, c.Heads, c.KVHeads, c.HeadDim, positions, freqs, qWeights, kWeights, float64(c.Eps))
	all := [][]float32{b.download(q), b.download(k), b.download(v)}
	for i, rows := range all[1:] {
		if !unwritten(rows[:c.Row*cols]) || !unwritten(rows[(c.Row+c.rows)*cols:]) {
			t.Errorf("%+v: rows of %c beyond those of qkv were written", c, "kv"[i])
		}
		all[1+i] = rows[c.Row*cols : (c.Row+c.rows)*cols]
	}
	splitqkvBound.Near(t, all[0], wantQ.Data, dtype.F32)
	splitqkvBound.Near(t, all[1], wantK.Data, dtype.F32)
	for i, x := range all[2] {
		if float64(x) != wantV.Data[i] {
			t.Fatalf("%+v: element %d of v is %v, want %v", c, i, x, wantV.Data[i])
		}
	}

	n := min(2, c.rows)
	first := c.rows - n
	if first%c.Window+n > c.Window {
		return // in two windows
	}
	alone := c.QKVShape
	alone.Start, alone.Row = positions[first], 0
	oneQ, oneK, oneV := b.empty(dtype.F32, n, q.Cols), b.empty(dtype.F32, n, cols), b.empty(dtype.F32, n, cols)
	SplitQKV(b.r, oneQ, oneK, oneV, b.upload(window(qkv, first, n), dtype.F32), table, qNorm, kNorm, alone)
	for i, got := range [][]float32{b.download(oneQ), b.download(oneK), b.download(oneV)} {
		if !slices.Equal(got, all[i][first*len(got)/n:]) {
			t.Errorf("%+v: the last %d rows of %c alone differ from those among others", c, n, "qkv"[i])
		}
	}
}

// unwritten reports whether all are NaN, as in an empty tensor.
func unwritten(x []float32) bool {
	return !slices.ContainsFunc(x, func(v float32) bool { return v == v })
}

func TestSplitQKV(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []qkvCase{
			{QKVShape{1, 1, 2, 1, 0, 0, 0}, 1, 1, false, false, dtype.F32},
			{QKVShape{4, 2, 16, 5, 0, 0, 0}, 15, 5, false, false, dtype.F32},
			{QKVShape{3, 1, 20, 7, 5, 3, 1e-5}, 7, 12, true, false, dtype.BF16},
			{QKVShape{6, 3, 22, 3, 1, 2, 1e-6}, 9, 4, true, false, dtype.F16},
			{QKVShape{8, 4, 64, 9, 250, 250, 0}, 1, 251, false, false, dtype.F32},
			{QKVShape{5, 5, 24, 4, 2, 1, 1e-6}, 8, 6, true, false, dtype.F32},
			{QKVShape{7, 1, 80, 50, 0, 0, 1e-6}, 33, 33, true, false, dtype.F16},
			{QKVShape{4, 2, 128, 40, 7, 9, 1e-6}, 5, 12, true, false, dtype.BF16},
			{QKVShape{2, 1, 254, 2, 0, 1, 1e-5}, 2, 2, true, false, dtype.F32},
			{QKVShape{2, 1, 256, 1, 3, 0, 1e-5}, 3, 4, true, false, dtype.F32},
			{QKVShape{5, 5, 64, 7, 3, 1, 0}, 14, 10, false, true, dtype.F32},
			{QKVShape{4, 2, 20, 9, 0, 2, 1e-6}, 9, 9, true, true, dtype.BF16},
		} {
			c.check(t, d)
		}
	})
}

func TestSplitQKVSplit(t *testing.T) {
	for _, tier := range []vk.Tier{vk.Baseline, vk.CoopMatrix} {
		d := vktest.Open(t, vk.Options{MaxTier: &tier, StorageRange: 1 << 20})
		for _, c := range []qkvCase{
			{QKVShape{3, 1, 6, 9000, 1, 2, 1e-6}, 18000, 9001, true, false, dtype.F16}, // rows
			{QKVShape{1, 1, 8, 45050, 1, 3, 0}, 90100, 45051, false, false, dtype.F32}, // windows of which a binding does not hold the positions
			{QKVShape{2, 1, 8, 45050, 1, 3, 0}, 90100, 45051, false, true, dtype.F32},
			{QKVShape{2, 1, 8, 2, 131070, 40000, 0}, 2, 131072, false, false, dtype.F32}, // the table, and k
		} {
			c.check(t, d)
		}
	}
	vktest.Clean(t)
}

func TestSplitQKVShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	q, k, qkv, table, norm := b.empty(dtype.F32, 4, 24), b.empty(dtype.F32, 6, 8), b.empty(dtype.F32, 4, 40), b.empty(dtype.F32, 6, 8), b.empty(dtype.F16, 1, 8)
	good := QKVShape{3, 1, 8, 4, 2, 2, 1e-6}
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
	refused(t, d, "16-bit keys", func(r *vk.Recorder) { SplitQKV(r, q, Of(k.View, dtype.F16, 6, 8), k, qkv, table, norm, norm, good) })
	refused(t, d, "one norm", func(r *vk.Recorder) { SplitQKV(r, q, k, k, qkv, table, norm, Tensor{}, good) })
	refused(t, d, "norms of two dtypes", func(r *vk.Recorder) { SplitQKV(r, q, k, k, qkv, table, norm, Of(k.View, dtype.F32, 1, 8), good) })
	SplitQKV(b.r, q, k, b.empty(dtype.F32, 6, 8), qkv, table, norm, norm, good)
	if err := b.r.Wait(context.Background()); err != nil {
		t.Error(err)
	}
}

// BenchmarkSplitQKV takes 20 dispatches at a time, of a prompt and of a token, per iteration.
func BenchmarkSplitQKV(b *testing.B) {
	d := vktest.Open(b, vk.Options{})
	for _, c := range []struct {
		rows int
		norm bool
	}{{256, false}, {256, true}, {1, false}, {1, true}} {
		b.Run(fmt.Sprintf("%dx8x64,norm=%v", c.rows, c.norm), func(b *testing.B) {
			const heads, kvHeads, dim, dispatches = 8, 4, 64, 20
			w := newBench(b, d)
			x := func(rows, cols int) Tensor { return w.upload(random(rows, cols), dtype.F32) }
			qkv, table := x(c.rows, (heads+2*kvHeads)*dim), x(c.rows, dim)
			q, k, v := x(c.rows, heads*dim), x(c.rows, kvHeads*dim), x(c.rows, kvHeads*dim)
			var norm Tensor
			if c.norm {
				norm = x(1, dim)
			}
			w.measure(dispatches, func() {
				SplitQKV(w.r, q, k, v, qkv, table, norm, norm, QKVShape{heads, kvHeads, dim, c.rows, 0, 0, 1e-6})
			})
		})
	}
}
