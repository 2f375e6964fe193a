package op

import (
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// mseBound is of mse.
var mseBound = optest.Bound{Max: 2e-6, Why: "a difference, a square and 2^-25·sqrt(cols/2) of their sum"}

// eachTierAndSplit runs f on every device at every tier, and once more where a binding holds no more than 1 MiB.
func eachTierAndSplit(t *testing.T, f func(t *testing.T, d *vk.Device)) {
	vktest.EachTier(t, f)
	t.Run("split", func(t *testing.T) {
		f(t, vktest.Open(t, vk.Options{StorageRange: 1 << 20}))
		vktest.Clean(t)
	})
}

// rowLoss is a loss of rows with its reference. The gradient is compared after base is added to it, if any: the difference of two
// numbers is as precise as these.
type rowLoss struct {
	name   string
	record func(r *vk.Recorder, loss, grad, yhat, y Tensor, scale float32)
	ref    func(yhat, y ref.Mat, scale float64) (loss []float64, grad ref.Mat)
	base   func(y ref.Mat, scale float64) []float64
}

var mse = rowLoss{"mse", MSE, ref.MSE, nil}

// mostDifferenced is the size of operands whose gradient is compared with differences: each takes two forward passes.
const mostDifferenced = 1 << 15

// of is a case of the loss: with a gradient, in place, and without one.
func (l rowLoss) of(name string, yhat, y ref.Mat, scale float32) optest.Case {
	c := optest.Case{
		Name: name, In: f32s(yhat, y), Out: likes(ref.Mat{Rows: 1, Cols: y.Rows}, y), InPlace: [][]int{{-1, optest.Absent}, {-1, 0}},
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			l.record(r, Tensor(out[0]), Tensor(out[1]), Tensor(in[0]), Tensor(in[1]), scale)
		},
		Want: func(in []ref.Mat) []ref.Mat {
			loss, grad := l.ref(in[0], in[1], float64(scale))
			return []ref.Mat{vector(loss...), grad}
		},
		Large: len(y.Data) > 1<<18,
	}
	if l.base != nil {
		c.Out[1].Base = l.base(y, float64(scale))
	}
	if len(y.Data) <= mostDifferenced {
		c.Gradient = &optest.Gradient{DY: -1, By: []int{-1, 0}, Forward: func(in []ref.Mat) ref.Mat {
			loss, _ := l.ref(in[0], in[1], float64(scale))
			return vector(loss...)
		}}
	}
	return c
}

// benchmarks is the loss of [rows cols], measured. work is the floating-point operations of an element.
func (l rowLoss) benchmarks(rows, cols int, work float64) func() []optest.Case {
	return func() []optest.Case {
		c := l.of(optest.Shape(rows, cols), random(rows, cols), block(random(rows+1, cols), 0, rows, 0, cols), 1)
		c.Flops = work * float64(rows*cols)
		return []optest.Case{c}
	}
}

// same fails where the bits are not the same.
func same(t testing.TB, what string, got, want []float32) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
		t.Errorf("%s: other bits", what)
	}
}

// runLoss gives the loss and its gradient, of operands that are not those of the case.
func runLoss(b *bench, c optest.Case, yhat, y ref.Mat) (loss, grad []float32) {
	dloss, dgrad := b.Empty(dtype.F32, 1, y.Rows), b.Empty(dtype.F32, y.Rows, y.Cols)
	c.Record(b.r, []optest.Tensor{dloss, dgrad}, []optest.Tensor{b.Upload(yhat, dtype.F32), b.Upload(y, dtype.F32)})
	return b.Download(dloss), b.Download(dgrad)
}

// independentRows checks of a loss' cases that equal rows, among others, have a loss and gradients of 0 to the bit, and that a row does not
// depend on those beside it.
func independentRows(t *testing.T, table optest.Table) {
	cases := table.Cases()
	eachTierAndSplit(t, func(t *testing.T, d *vk.Device) {
		for _, c := range cases {
			b := newBench(t, d)
			yhat, y := c.In[0].Mat, c.In[1].Mat
			loss, grad := runLoss(b, c, yhat, y)
			lastLoss, lastGrad := runLoss(b, c, window(yhat, y.Rows-1, 1), window(y, y.Rows-1, 1))
			same(t, table.Op+" of one row", lastLoss, loss[y.Rows-1:])
			same(t, table.Op+": gradient of one row", lastGrad, grad[(y.Rows-1)*y.Cols:])

			equal := y
			equal.Data = slices.Clone(yhat.Data)
			copy(equal.Row(0), y.Row(0)) // a row that differs
			loss, grad = runLoss(b, c, yhat, equal)
			for _, v := range append(grad[y.Cols:], loss[1:]...) {
				if v != 0 {
					t.Errorf("%s %s: equal rows give %v", table.Op, c.Name, v)
					break
				}
			}
		}
	})
}

func mseTable() optest.Table {
	return optest.Table{Op: "mse", Bound: mseBound, Tiers: true, Benchmarks: mse.benchmarks(2048, 128, 5), Cases: func() (cases []optest.Case) {
		for _, c := range []struct{ rows, cols int }{{1, 1}, {9, 4}, {3, 4097}, {7, 120}, {1, 4096}, {300, 1001}, {257, 1028}, {2, 70000}} {
			yhat, y := random(c.rows, c.cols), block(random(c.rows, c.cols+1), 0, c.rows, 1, c.cols+1)
			cases = append(cases, mse.of(optest.Shape(c.rows, c.cols), yhat, y, float32(1/float64(c.rows*c.cols))))
		}
		return cases
	}}
}

func TestMSE(t *testing.T) { mseTable().Test(t) }

func TestMSERows(t *testing.T) { independentRows(t, mseTable()) }

func BenchmarkMSE(b *testing.B) { mseTable().Benchmark(b) }

func TestMSEShapes(t *testing.T) { refusedLosses(t, mse) }

func refusedLosses(t *testing.T, l rowLoss) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, loss := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 1, 4)
	half := Of(x.View, dtype.F16, 4, 6)
	for what, a := range map[string][4]Tensor{
		"other rows":          {loss, x, x, x.RowRange(0, 3)},
		"a loss too many":     {b.empty(dtype.F32, 1, 5), x, x, x},
		"16-bit states":       {loss, x, half, half},
		"16-bit target":       {loss, x, x, half},
		"gradient of others":  {loss, x.RowRange(0, 3), x, x},
		"16-bit gradient":     {loss, half, x, x},
		"absent states":       {loss, Tensor{}, Tensor{}, Tensor{}},
		"too many columns":    {loss, Tensor{}, Tensor{x.View, dtype.F32, 4, 1<<20 + 1}, Tensor{x.View, dtype.F32, 4, 1<<20 + 1}},
		"transposed gradient": {loss, x.Reshape(6, 4), x, x},
	} {
		if what == "too many columns" && !d.Info.Has(vk.LoopLimit) {
			continue
		}
		refused(t, d, l.name+", "+what, func(r *vk.Recorder) { l.record(r, a[0], a[1], a[2], a[3], 1) })
	}
}
