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

// gramoperandBound is of gramoperand and weightedsquares.
var gramoperandBound = optest.Bound{Max: 1e-6, Why: "the driver's sqrt (3 ulp) and a product; of squares also their sum in f32"}

// weights are positive ones for n tokens, one of which counts nothing.
func positive(n int) ref.Mat {
	w := random(1, n)
	for i, v := range w.Data {
		w.Data[i] = math.Exp(2 * v)
	}
	if n > 2 {
		w.Data[n/2] = 0
	}
	return w
}

func gramoperandTable() optest.Table {
	return optest.Table{Op: "gramoperand", Bound: gramoperandBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			tokens, cols, window int
			bias                 bool
			first                int // block
		}{{1, 1, 1, false, 0}, {1, 1, 1, true, 0}, {66, 7, 33, true, 0}, {66, 7, 33, false, 1}, {128, 120, 128, false, 0}, {600, 48, 600, true, 2}, {300, 49, 300, false, 1},
			{9, 5, 1, false, 4}, {1024, 344, 512, false, 3}, {1040, 333, 130, true, 5}} {
			x, w, inputs := random(c.tokens, c.cols), positive(c.tokens), c.cols
			if c.bias {
				inputs++
			}
			blocks, depth := GramBlocks(c.tokens, c.window)
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.tokens, c.cols, c.window, c.bias, c.first), In: f32s(x, w), Out: likes(ref.Mat{Rows: (blocks - c.first) * inputs, Cols: depth}),
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					GramOperand(r, Tensor(out[0]), Tensor(in[0]), Tensor(in[1]), inputs, c.window, c.first)
				},
				Want: func(in []ref.Mat) []ref.Mat {
					all := ref.GramOperand(in[0], in[1].Data, inputs, c.window, GramBlock, depth)
					return one(block(all, c.first*inputs, all.Rows, 0, depth))
				},
				Measured: c.tokens == 1024,
			})
		}
		return cases
	}}
}

func TestGramOperand(t *testing.T) { gramoperandTable().Test(t) }

func BenchmarkGramOperand(b *testing.B) { gramoperandTable().Benchmark(b) }

func TestGramOperandShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, w, y := b.empty(dtype.F32, 6, 5), b.empty(dtype.F32, 1, 6), b.empty(dtype.F32, 10, 16)
	refused(t, d, "a part of a window", func(r *vk.Recorder) { GramOperand(r, y, x, w, 5, 4, 0) })
	refused(t, d, "no window", func(r *vk.Recorder) { GramOperand(r, y, x, w, 5, 0, 0) })
	refused(t, d, "other weights", func(r *vk.Recorder) { GramOperand(r, y, x, b.empty(dtype.F32, 1, 5), 5, 3, 0) })
	refused(t, d, "two more inputs", func(r *vk.Recorder) { GramOperand(r, y, x, w, 7, 3, 0) })
	refused(t, d, "blocks beyond the last", func(r *vk.Recorder) { GramOperand(r, y, x, w, 5, 3, 1) })
	refused(t, d, "a part of a block", func(r *vk.Recorder) { GramOperand(r, y.RowRange(0, 8), x, w, 5, 3, 0) })
	refused(t, d, "another depth", func(r *vk.Recorder) { GramOperand(r, y.Reshape(5, 32), x, w, 5, 6, 0) })
}

func weightedsquaresTable() optest.Table {
	return optest.Table{Op: "weightedsquares", Bound: gramoperandBound, Cases: func() (cases []optest.Case) {
		for _, c := range [][2]int{{1, 1}, {7, 120}, {3, 4097}, {601, 577}} {
			x, w := random(c[0], c[1]), positive(c[0])
			cases = append(cases, optest.Case{
				Name: optest.Shape(c[0], c[1]), In: f32s(x, w), Out: likes(w), Large: c[0] > 600, Measured: c[0] > 600,
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					WeightedSquares(r, Tensor(out[0]), Tensor(in[0]), Tensor(in[1]))
				},
				Want: func(in []ref.Mat) []ref.Mat { return one(vector(ref.WeightedSquares(in[0], in[1].Data)...)) },
			})
		}
		return cases
	}}
}

func TestWeightedSquares(t *testing.T) { weightedsquaresTable().Test(t) }

func BenchmarkWeightedSquares(b *testing.B) { weightedsquaresTable().Benchmark(b) }

func TestWeightedSquaresShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, w := b.empty(dtype.F32, 6, 5), b.empty(dtype.F32, 1, 6)
	refused(t, d, "other weights", func(r *vk.Recorder) { WeightedSquares(r, w, x, b.empty(dtype.F32, 1, 5)) })
	refused(t, d, "16-bit states", func(r *vk.Recorder) { WeightedSquares(r, w, Of(x.View, dtype.F16, 6, 5), w) })
}
