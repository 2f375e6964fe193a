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
	bound  optest.Bound
	record func(r *vk.Recorder, loss, grad, yhat, y Tensor, scale float32)
	ref    func(yhat, y ref.Mat, scale float64) (loss []float64, grad ref.Mat)
	base   func(y ref.Mat, scale float64) []float64
}

var mse = rowLoss{"mse", mseBound, MSE, ref.MSE, nil}

// run computes the loss and its gradient: alone, with a gradient of its own, and in place.
func (l rowLoss) run(t *testing.T, b *bench, yhat, y ref.Mat, scale float32) (loss, grad []float32) {
	t.Helper()
	dy, dyhat := b.upload(y, dtype.F32), b.upload(yhat, dtype.F32)
	first, dloss, dgrad := b.empty(dtype.F32, 1, y.Rows), b.empty(dtype.F32, 1, y.Rows), b.empty(dtype.F32, y.Rows, y.Cols)
	l.record(b.r, first, Tensor{}, dyhat, dy, scale)
	l.record(b.r, dloss, dgrad, dyhat, dy, scale)
	loss, grad = b.download(dloss), b.download(dgrad)
	same(t, l.name+" without a gradient", b.download(first), loss)
	l.record(b.r, dloss, dyhat, dyhat, dy, scale)
	same(t, l.name+" in place", b.download(dloss), loss)
	same(t, l.name+": gradient in place", b.download(dyhat), grad)
	return loss, grad
}

// same fails where the bits are not the same.
func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
		t.Errorf("%s: other bits", what)
	}
}

// test compares with the reference, and checks that equal rows, among others, have a loss and gradients of 0 to the bit, and that a row
// does not depend on those beside it.
func (l rowLoss) test(t *testing.T, d *vk.Device, yhat, y ref.Mat, scale float32) {
	t.Helper()
	b := newBench(t, d)
	loss, grad := l.run(t, b, yhat, y, scale)
	all := grad
	wantLoss, wantGrad := l.ref(yhat, y, float64(scale))
	l.bound.Near(t, loss, wantLoss, dtype.F32)
	if l.base != nil {
		grad = slices.Clone(grad)
		for i, v := range l.base(y, float64(scale)) {
			grad[i] += float32(v)
			wantGrad.Data[i] += v
		}
	}
	l.bound.Near(t, grad, wantGrad.Data, dtype.F32)

	last := block(y, y.Rows-1, y.Rows, 0, y.Cols)
	lastLoss, lastGrad := l.run(t, b, block(yhat, y.Rows-1, y.Rows, 0, y.Cols), last, scale)
	same(t, l.name+" of one row", lastLoss, loss[y.Rows-1:])
	same(t, l.name+": gradient of one row", lastGrad, all[(y.Rows-1)*y.Cols:])

	equal := y
	equal.Data = slices.Clone(yhat.Data)
	copy(equal.Row(0), y.Row(0)) // a row that differs
	loss, grad = l.run(t, b, yhat, equal, scale)
	for _, v := range append(grad[y.Cols:], loss[1:]...) {
		if v != 0 {
			t.Errorf("%s [%d %d]: equal rows give %v", l.name, y.Rows, y.Cols, v)
			break
		}
	}
}

func TestMSE(t *testing.T) {
	eachTierAndSplit(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct{ rows, cols int }{{1, 1}, {9, 4}, {3, 4097}, {7, 120}, {1, 4096}, {300, 1001}, {257, 1028}, {2, 70000}} {
			yhat, y := random(c.rows, c.cols), block(random(c.rows, c.cols+1), 0, c.rows, 1, c.cols+1)
			mse.test(t, d, yhat, y, float32(1/float64(c.rows*c.cols)))
		}
	})
}

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

func BenchmarkMSE(b *testing.B) { benchmarkLoss(b, mse, 2048, 128) }

func benchmarkLoss(b *testing.B, l rowLoss, rows, cols int) {
	w := newBench(b, vktest.Open(b, vk.Options{}))
	yhat, y := w.upload(random(rows, cols), dtype.F32), w.upload(random(rows+1, cols), dtype.F32).RowRange(0, rows)
	loss, grad := w.empty(dtype.F32, 1, rows), w.empty(dtype.F32, rows, cols)
	w.measure(4, func() { l.record(w.r, loss, grad, yhat, y, 1) })
}
