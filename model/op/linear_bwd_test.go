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

// linearBackwardBound is of linear_bwd.
var linearBackwardBound = optest.Bound{Max: 2e-5, Why: "as linear"}

// linearBackwardCase has dy, w, the residual and xᵀ for inputs, and where the gradient is compared with differences x, which the device has
// no use for. The gradients of w and of the bias are added to what is there.
func linearBackwardCase(tokens, in, out int, dt dtype.DType) optest.Case {
	x, w, bias := random(tokens, in), random(out, in), random(1, out)
	dy, residual, start := random(out, tokens), random(in, tokens), block(random(out, in+1), 0, out, 0, in)
	dy.Rows, dy.Cols, residual.Rows, residual.Cols = tokens, out, tokens, in
	one := optest.Case{
		Name: optest.Shape(tokens, in, out, dt), Of: dt,
		In:  []optest.Input{{Mat: dy}, {Mat: w, DType: dt}, {Mat: residual}, {Mat: ref.Transpose(x)}},
		Out: []optest.Output{{Rows: tokens, Cols: in}, {Rows: out, Cols: in, Start: start}, {Rows: 1, Cols: out, Start: bias}},
		Extra: func(b *optest.Bench) []optest.Tensor {
			return []optest.Tensor{b.Empty(dtype.F32, out, tokens), b.Empty(dt, in, out)}
		},
		InPlace: [][]int{{2, -1, -1}, {optest.Absent, -1, optest.Absent}, {-1, optest.Absent, optest.Absent}, {optest.Absent, optest.Absent, -1}},
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			LinearBackward(r, Tensor(in[0]), Tensor(in[1]), LinearGrads{X: Tensor(out[0]), Residual: Tensor(in[2]), W: Tensor(out[1]), Bias: Tensor(out[2]),
				XT: Tensor(in[3]), DYT: Tensor(out[3]), WT: Tensor(out[4])})
		},
		Want: func(in []ref.Mat) []ref.Mat {
			dx, dw, dbias := ref.LinearBackward(in[0], ref.Transpose(in[3]), in[1])
			return []ref.Mat{ref.Add(in[2], dx), ref.Add(start, dw), ref.Add(bias, vector(dbias...))}
		},
		Flops: 4 * float64(tokens*in*out),
	}
	if tokens*in*out < 1<<18 {
		one.In = append(one.In, f32s(x, bias)...)
		one.Gradient = &optest.Gradient{DY: -1, By: []int{4, 1, 5}, Forward: func(in []ref.Mat) ref.Mat {
			// The terms behind the first have the gradients to which those of linear are added.
			return vector(dot(in[0], ref.Linear(in[4], in[1], in[5].Data)) + dot(in[2], in[4]) + dot(start, in[1]) + dot(bias, in[5]))
		}}
	}
	return one
}

var linearBackwardShapes = []struct {
	tokens, in, out int
	dtype           dtype.DType
}{{1, 1, 1, dtype.F32}, {3, 120, 48, dtype.BF16}, {17, 112, 97, dtype.F32}, {64, 128, 384, dtype.F16}, {40, 33, 63, dtype.F16}, {128, 384, 128, dtype.BF16}}

func linearBackwardTable() optest.Table {
	return optest.Table{Op: "linear_bwd", Bound: linearBackwardBound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range linearBackwardShapes {
			one := linearBackwardCase(c.tokens, c.in, c.out, c.dtype)
			one.Measured = c.tokens == 128
			cases = append(cases, one)
		}
		return cases
	}}
}

func TestLinearBackward(t *testing.T) { linearBackwardTable().Test(t) }

func BenchmarkLinearBackward(b *testing.B) { linearBackwardTable().Benchmark(b) }

// The gradients of two micro-batches are those of both together, and weights that are turned already give the input's.
func TestLinearBackwardAgain(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range linearBackwardShapes {
			b := newBench(t, d)
			x, w, start, dy := random(c.tokens, c.in), random(c.out, c.in), block(random(c.out, c.in+1), 0, c.out, 0, c.in), random(c.out, c.tokens)
			dy.Rows, dy.Cols = c.tokens, c.out
			tw, td := b.upload(w, c.dtype), b.upload(dy, dtype.F32)
			g := LinearGrads{X: b.empty(dtype.F32, c.tokens, c.in), W: b.upload(start, dtype.F32), XT: b.upload(ref.Transpose(x), dtype.F32),
				DYT: b.empty(dtype.F32, c.out, c.tokens), WT: b.empty(c.dtype, c.in, c.out)}
			LinearBackward(b.r, td, tw, g)
			LinearBackward(b.r, td, tw, LinearGrads{W: g.W, XT: g.XT, DYT: g.DYT})
			dx, dw, _ := ref.LinearBackward(dy, x, w)
			linearBackwardBound.Near(t, b.download(g.W), ref.Add(ref.Add(start, dw), dw).Data, c.dtype)
			again := b.empty(dtype.F32, c.tokens, c.in)
			LinearBackward(b.r, td, tw, LinearGrads{X: again, WT: g.WT, Ready: true})
			linearBackwardBound.Near(t, b.download(again), dx.Data, c.dtype)
		}
	})
}

// By cooperative matrices the gradients of 16-bit weights are those of a dy and an x that are rounded to f16, row by row of what is multiplied.
func TestLinearBackwardHalf(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		if d.Tier < vk.CoopMatrix {
			t.Skip("no cooperative matrices")
		}
		with(t, d, Kernels{linearMany: "linear_coopmat"})
		for _, c := range []struct {
			tokens, in, out int
			dtype           dtype.DType
		}{{136, 120, 48, dtype.BF16}, {200, 40, 96, dtype.F16}, {128, 384, 128, dtype.BF16}} {
			b := newBench(t, d)
			x, w, start, dy := random(c.tokens, c.in), random(c.out, c.in), random(c.out, c.in), random(c.tokens, c.out)
			for i := range dy.Rows { // gradients of tokens differ by much
				for j := range dy.Row(i) {
					dy.Row(i)[j] *= math.Pow(10, float64(-i%4))
				}
			}
			n := LinearGradHalves(d, c.dtype, c.out, c.in, c.tokens)
			if n == 0 {
				t.Fatalf("%v: no floats for operands in half precision", c)
			}
			g := LinearGrads{X: b.empty(dtype.F32, c.tokens, c.in), W: b.upload(start, dtype.F32), XT: b.upload(ref.Transpose(x), dtype.F32),
				DYT: b.empty(dtype.F32, c.out, c.tokens), WT: b.empty(c.dtype, c.in, c.out), Scratch: b.empty(dtype.F32, c.tokens, c.out), Halves: b.empty(dtype.F32, 1, n)}
			LinearBackward(b.r, b.upload(dy, dtype.F32), b.upload(w, c.dtype), g)
			half := func(m ref.Mat) ref.Mat { return halfHeads(m, m.Cols) }
			rounded := ref.Linear(half(ref.Transpose(dy)), half(ref.Transpose(x)), nil)
			linearBackwardBound.Near(t, b.download(g.W), ref.Add(start, rounded).Data, dtype.F32)
			linearBackwardBound.Near(t, b.download(g.X), ref.Linear(half(dy), ref.Transpose(stored(w, c.dtype)), nil).Data, c.dtype)
			if way := linearWay(d, g.DYT, g.XT, g.ofWeights(c.dtype)); !way.half || way.parts {
				t.Errorf("%v: by %s, in parts %t", c, way.shader, way.parts)
			}
		}
	})
}

func TestLinearBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	dy, w, wt := b.empty(dtype.F32, 4, 6), b.empty(dtype.BF16, 6, 8), b.empty(dtype.BF16, 8, 6)
	refused(t, d, "another width", func(r *vk.Recorder) { LinearBackward(r, dy, wt, LinearGrads{}) })
	refused(t, d, "transposed weights of another dtype", func(r *vk.Recorder) {
		LinearBackward(r, dy, w, LinearGrads{X: b.empty(dtype.F32, 4, 8), WT: b.empty(dtype.F32, 8, 6)})
	})
	refused(t, d, "no transposed input", func(r *vk.Recorder) {
		LinearBackward(r, dy, w, LinearGrads{W: b.empty(dtype.F32, 6, 8), DYT: b.empty(dtype.F32, 6, 4)})
	})
}
