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

// cosinetargetBound is of cosinetarget.
var cosinetargetBound = optest.Bound{Max: 4e-6, Why: "three sums in f32, roots, quotients of cosines of 0.1 and more, and the difference of two numbers of its size"}

func cosinetargetTable() optest.Table {
	const scale = 0.75
	return optest.Table{Op: "cosinetarget", Bound: cosinetargetBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct{ rows, hidden int }{{1, 1}, {7, 120}, {3, 4097}, {512, 576}, {301, 1025}} {
			out, y := random(c.rows, c.hidden), block(random(c.rows+1, c.hidden), 0, c.rows, 0, c.hidden)
			for t := range c.rows { // all angles
				for i, v := range out.Row(t) {
					y.Row(t)[i] += 3 * v * math.Sin(float64(t))
				}
			}
			if c.rows > 1 {
				clear(y.Row(c.rows - 1))
				clear(out.Row(1))
			}
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.hidden), In: f32s(out, y), Out: likes(out, ref.NewMat(1, c.rows)), InPlace: [][]int{{0}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					CosineTarget(r, Tensor(out[0]), Tensor(out[1]), Tensor(in[0]), Tensor(in[1]), scale)
				},
				Want: func(in []ref.Mat) []ref.Mat {
					e, w := ref.CosineTarget(in[0], in[1], scale)
					return []ref.Mat{e, vector(w...)}
				},
				Large: c.rows > 300, Measured: c.rows == 512,
			})
		}
		return cases
	}}
}

func TestCosineTarget(t *testing.T) { cosinetargetTable().Test(t) }

func BenchmarkCosineTarget(b *testing.B) { cosinetargetTable().Benchmark(b) }

// The gradient of the squares at 0, −2·w·e, is that of 2·(1 − cos) by what is given, up to the scale.
func TestCosineTargetGradient(t *testing.T) {
	out, y := random(9, 33), block(random(10, 33), 0, 9, 0, 33)
	for i := range y.Data {
		y.Data[i] += 2 * out.Data[i]
	}
	e, w := ref.CosineTarget(out, y, 1)
	_, grad := ref.CosineLoss(out, y, 2)
	for t2 := range out.Rows {
		for i, g := range grad.Row(t2) {
			if got := -2 * w[t2] * e.At(t2, i); math.Abs(got-g) > 1e-12 {
				t.Fatalf("token %d, channel %d: %v, expected %v", t2, i, got, g)
			}
		}
	}
}

func TestCosineTargetShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, e, w := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 1, 4)
	refused(t, d, "other rows", func(r *vk.Recorder) { CosineTarget(r, e, w, x, x.RowRange(0, 3), 1) })
	refused(t, d, "a weight too many", func(r *vk.Recorder) { CosineTarget(r, e, b.empty(dtype.F32, 1, 5), x, x, 1) })
	refused(t, d, "absent states", func(r *vk.Recorder) { CosineTarget(r, Tensor{}, Tensor{}, Tensor{}, Tensor{}, 1) })
}
