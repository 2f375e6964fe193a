package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// fittargetBound is of fittarget.
var fittargetBound = optest.Bound{Max: 2e-6, Why: "sums of squares in f32, a root, two quotients and the difference of two numbers of its size"}

func fittargetTable() optest.Table {
	const eps, scale = 1e-5, 0.75
	return optest.Table{Op: "fittarget", Bound: fittargetBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, hidden int
			g            dtype.DType
			plusOne      bool
		}{{1, 1, dtype.F32, false}, {7, 120, dtype.F16, true}, {3, 4097, dtype.BF16, false}, {512, 576, dtype.F32, false}, {301, 1025, dtype.F16, false}, {9, 64, dtype.BF16, true}} {
			out, y, z := random(c.rows, c.hidden), block(random(c.rows+1, c.hidden), 0, c.rows, 0, c.hidden), block(random(c.rows+2, c.hidden), 0, c.rows, 0, c.hidden)
			g := random(1, c.hidden)
			for i := range g.Data { // as norms have them: none near 0, where quotients say nothing, but for zeros themselves
				g.Data[i] = 1 + 0.25*max(-3, min(3, g.Data[i]))
			}
			if c.rows > 1 {
				clear(y.Row(c.rows - 1))
				g.Data[c.hidden/2] = 0
				if c.plusOne {
					g.Data[c.hidden/2] = -1
				}
			}
			w := ref.NewMat(1, c.rows)
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.hidden), In: f32s(out, y), Out: likes(out, w), InPlace: [][]int{{0}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					FitTarget(r, Tensor(out[0]), Tensor(out[1]), Tensor(in[0]), Tensor(in[1]), scale, FitNorm{})
				},
				Want: func(in []ref.Mat) []ref.Mat {
					e, w := ref.FitTarget(in[0], in[1], scale)
					return []ref.Mat{e, vector(w...)}
				},
				Large: c.rows > 300, Measured: c.rows == 512,
			}, optest.Case{
				Name: optest.Shape(c.rows, c.hidden, "normed", c.g, c.plusOne), Of: c.g, In: append(f32s(out, y, z), optest.Input{Mat: g, DType: c.g}), Out: likes(out, w),
				InPlace: [][]int{{0}, {2}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					FitTarget(r, Tensor(out[0]), Tensor(out[1]), Tensor(in[0]), Tensor(in[1]), scale, FitNorm{Z: Tensor(in[2]), G: Tensor(in[3]), PlusOne: c.plusOne, Eps: eps})
				},
				Want: func(in []ref.Mat) []ref.Mat {
					e, w := ref.FitTargetNormed(in[0], in[1], in[2], weightsOf(in[3], c.plusOne), scale, eps)
					return []ref.Mat{e, vector(w...)}
				},
				Large: c.rows > 300, Measured: c.rows == 512,
			})
		}
		return cases
	}}
}

func TestFitTarget(t *testing.T) { fittargetTable().Test(t) }

func BenchmarkFitTarget(b *testing.B) { fittargetTable().Benchmark(b) }

func TestFitTargetShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, e, w, g := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 1, 4), b.empty(dtype.F32, 1, 6)
	refused(t, d, "other rows", func(r *vk.Recorder) { FitTarget(r, e, w, x, x.RowRange(0, 3), 1, FitNorm{}) })
	refused(t, d, "a weight too many", func(r *vk.Recorder) { FitTarget(r, e, b.empty(dtype.F32, 1, 5), x, x, 1, FitNorm{}) })
	refused(t, d, "a norm without weights", func(r *vk.Recorder) { FitTarget(r, e, w, x, x, 1, FitNorm{Z: x}) })
	refused(t, d, "weights of another norm", func(r *vk.Recorder) { FitTarget(r, e, w, x, x, 1, FitNorm{Z: x, G: w}) })
	refused(t, d, "weights without what is normed", func(r *vk.Recorder) { FitTarget(r, e, w, x, x, 1, FitNorm{G: g}) })
	refused(t, d, "absent states", func(r *vk.Recorder) { FitTarget(r, Tensor{}, Tensor{}, Tensor{}, Tensor{}, 1, FitNorm{}) })
}
