package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// lowRankBackwardCase has dy, x, a, b and xᵀ for inputs, and where the gradient is compared with differences w, which the device has no use
// for. The gradients are added to what is there.
func lowRankBackwardCase(tokens, in, out, rank int) optest.Case {
	dy, x, w := block(random(tokens, out+1), 0, tokens, 1, out+1), random(tokens, in), random(out, in)
	a, b := random(rank, in), block(random(rank, out+2), 0, rank, 2, out+2)
	startA, startB := block(random(rank, in+1), 0, rank, 0, in), block(random(rank, out+1), 0, rank, 0, out)
	one := optest.Case{
		Name: optest.Shape(tokens, in, out, rank),
		In:   f32s(dy, x, a, b, ref.Transpose(x)),
		Out:  []optest.Output{{Rows: rank, Cols: in, Start: startA}, {Rows: rank, Cols: out, Start: startB}},
		Extra: func(b *optest.Bench) []optest.Tensor {
			return []optest.Tensor{b.Empty(dtype.F32, out, tokens), b.Empty(dtype.F32, rank, tokens)}
		},
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			LowRankBackward(r, Tensor(in[0]), Tensor(in[1]), Tensor(in[2]), Tensor(in[3]),
				LowRankGrads{A: Tensor(out[0]), B: Tensor(out[1]), XT: Tensor(in[4]), DYT: Tensor(out[2]), Product: Tensor(out[3])})
		},
		Want: func(in []ref.Mat) []ref.Mat {
			da, db := ref.LowRankBackward(in[0], in[1], in[2], in[3])
			return []ref.Mat{ref.Add(startA, da), ref.Add(startB, db)}
		},
		Flops: 4 * float64(tokens*(in+out)*rank), Measured: tokens == 128,
	}
	if tokens*in*out < 1<<18 {
		one.In = append(one.In, optest.Input{Mat: w})
		one.Gradient = &optest.Gradient{DY: -1, By: []int{2, 3}, Forward: func(in []ref.Mat) ref.Mat {
			// The terms behind the first have the gradients to which those of the factors are added.
			y := ref.Linear(in[1], ref.LowRank(in[5], in[2], in[3]), nil)
			return vector(dot(in[0], y) + dot(startA, in[2]) + dot(startB, in[3]))
		}}
	}
	return one
}

func lowRankBackwardTable() optest.Table {
	return optest.Table{Op: "lowrank_bwd", Bound: optest.Bound{Max: 4e-5, Why: "linear twice, one behind the other"}, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct{ tokens, in, out, rank int }{{1, 1, 1, 1}, {3, 120, 48, 4}, {17, 112, 97, 16}, {40, 33, 63, 5}, {128, 384, 128, 16}} {
			cases = append(cases, lowRankBackwardCase(c.tokens, c.in, c.out, c.rank))
		}
		return cases
	}}
}

func TestLowRankBackward(t *testing.T) { lowRankBackwardTable().Test(t) }

func BenchmarkLowRankBackward(b *testing.B) { lowRankBackwardTable().Benchmark(b) }

func TestLowRankBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	f := func(rows, cols int) Tensor { return b.empty(dtype.F32, rows, cols) }
	dy, x, a, bt := f(4, 6), f(4, 8), f(2, 8), f(2, 6)
	g := LowRankGrads{A: f(2, 8), B: f(2, 6), XT: f(8, 4), DYT: f(6, 4), Product: f(2, 4)}
	refused(t, d, "B as it is", func(r *vk.Recorder) { LowRankBackward(r, dy, x, a, f(6, 2), g) })
	refused(t, d, "other tokens", func(r *vk.Recorder) { LowRankBackward(r, dy, f(3, 8), a, bt, g) })
	for i, spoil := range []func(g *LowRankGrads){
		func(g *LowRankGrads) { g.A = g.B }, func(g *LowRankGrads) { g.B = Tensor{} }, func(g *LowRankGrads) { g.XT = x }, func(g *LowRankGrads) { g.DYT = dy },
		func(g *LowRankGrads) { g.Product = f(4, 2) },
	} {
		bad := g
		spoil(&bad)
		refused(t, d, []string{"gradient of A", "gradient of B", "x transposed", "dy transposed", "scratch"}[i], func(r *vk.Recorder) { LowRankBackward(r, dy, x, a, bt, bad) })
	}
}
