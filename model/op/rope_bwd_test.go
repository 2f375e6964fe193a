package op

import (
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// ropeBound is of rope_bwd.
var ropeBound = optest.Bound{Max: 3e-7, Why: "three f32 roundings, and that of the cosines and sines"}

// ropeTable is [positions, headDim]: cosines, then sines.
func ropeTable(freqs []float64, positions int) ref.Mat {
	table := ref.NewMat(positions, 2*len(freqs))
	for p := range positions {
		for i, f := range freqs {
			table.Row(p)[len(freqs)+i], table.Row(p)[i] = math.Sincos(float64(p) * f)
		}
	}
	return table
}

func ropeBackwardTable() optest.Table {
	of := func(rows, heads, headDim, window, start, positions int, rotary Rotary) optest.Case {
		dim, _ := rotary.of(headDim)
		freqs := ref.RopeFrequencies(dim, 1e4, ref.RopeScaling{})
		dy := random(rows, heads*headDim)
		one := optest.Case{
			Name: optest.Shape(rows, heads*headDim, headDim, window, start, rotary), In: f32s(ropeTable(freqs, positions)), Out: []optest.Output{{Rows: rows, Cols: dy.Cols, Start: dy}},
			Record: func(r *vk.Recorder, out, in []optest.Tensor) {
				RoPEBackward(r, Tensor(out[0]), Tensor(in[0]), headDim, window, start, rotary)
			},
			Want: func([]ref.Mat) []ref.Mat {
				return one(ref.RoPEBackward(dy, headDim, positionsOf(rows, window, start), freqs, rotary.Interleaved))
			},
			Flops: 3 * float64(rows*dy.Cols),
		}
		if len(dy.Data) <= mostDifferenced && positions < 1<<10 {
			one.In = append(one.In, f32s(block(random(rows, dy.Cols+1), 0, rows, 1, dy.Cols+1), dy)...) // x and dy, for the differences
			one.Gradient = &optest.Gradient{DY: 2, By: []int{1}, Forward: func(in []ref.Mat) ref.Mat {
				return ref.RoPE(in[1], headDim, positionsOf(rows, window, start), freqs, rotary.Interleaved)
			}}
		}
		return one
	}
	return optest.Table{Op: "rope_bwd", Bound: ropeBound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, heads, headDim, window, start, positions int
			large                                          bool // beyond 1 MiB
		}{
			{1, 1, 2, 1, 0, 1, false}, {7, 3, 20, 7, 5, 12, false}, {15, 2, 24, 5, 3, 8, false}, {4, 1, 80, 9, 0, 4, false},
			{37, 5, 16, 11, 2, 13, false}, {33, 9, 8, 40, 0, 40, false}, {16, 3, 24, 1, 1, 2, false},
			{2, 2, 8, 2, 131070, 131072, true}, // the table
			{70, 1201, 6, 35, 1, 36, true},     // x
			{2300, 60, 6, 1150, 0, 1150, true}, // x, windows not at its pieces
			{2300, 50, 8, 1150, 0, 1150, true},
			{90100, 1, 6, 45050, 1, 45051, true}, // windows of which a binding does not hold the positions
		} {
			one := of(c.rows, c.heads, c.headDim, c.window, c.start, c.positions, Rotary{})
			one.Large = c.large
			cases = append(cases, one)
		}
		for _, rotary := range []Rotary{{8, false}, {24, true}, {0, true}, {14, true}, {6, false}, {16, true}} {
			cases = append(cases, of(15, 2, 24, 5, 3, 8, rotary), of(9, 3, 26, 9, 0, 9, rotary))
		}
		return cases
	}, Benchmarks: func() []optest.Case {
		return []optest.Case{of(2048, 8, 16, 256, 0, 256, Rotary{}), of(2048, 4, 16, 256, 0, 256, Rotary{}), of(256, 32, 64, 256, 0, 256, Rotary{}), of(1, 8, 64, 256, 0, 256, Rotary{})}
	}}
}

func TestRoPEBackward(t *testing.T) { ropeBackwardTable().Test(t) }

func BenchmarkRoPEBackward(b *testing.B) { ropeBackwardTable().Benchmark(b) }

func TestRoPEBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, table := b.empty(dtype.F32, 4, 24), b.empty(dtype.F32, 6, 8)
	refused(t, d, "positions past the table", func(r *vk.Recorder) { RoPEBackward(r, x, table, 8, 4, 3, Rotary{}) })
	refused(t, d, "another table", func(r *vk.Recorder) { RoPEBackward(r, x, table, 6, 4, 0, Rotary{}) })
	refused(t, d, "heads that do not divide a row", func(r *vk.Recorder) { RoPEBackward(r, x, b.empty(dtype.F32, 6, 10), 10, 4, 0, Rotary{}) })
	refused(t, d, "an odd head", func(r *vk.Recorder) { RoPEBackward(r, x, b.empty(dtype.F32, 6, 3), 3, 4, 0, Rotary{}) })
	refused(t, d, "no window", func(r *vk.Recorder) { RoPEBackward(r, x, table, 8, 0, 0, Rotary{}) })
	refused(t, d, "a negative start", func(r *vk.Recorder) { RoPEBackward(r, x, table, 8, 4, -1, Rotary{}) })
	refused(t, d, "16-bit x", func(r *vk.Recorder) { RoPEBackward(r, Of(x.View, dtype.F16, 4, 24), table, 8, 4, 0, Rotary{}) })
}
