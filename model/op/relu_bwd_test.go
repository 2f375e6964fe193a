package op

import (
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Nothing is computed, so equality is exact.
func TestReLUBackward(t *testing.T) {
	eachAndSplit(t, func(t *testing.T, d *vk.Device, split bool) {
		for _, c := range []struct{ rows, cols int }{{1, 1}, {1, 3}, {7, 127}, {3, 1408}, {1001, 703}} {
			if split && c.rows < 1001 {
				continue
			}
			x := random(c.rows, c.cols)
			dy := block(random(c.rows, c.cols+1), 0, c.rows, 1, c.cols+1)
			x.Data[0] = 0 // on the edge
			b := newBench(t, d)
			tx, td, y := b.upload(x, dtype.F32), b.upload(dy, dtype.F32), b.empty(dtype.F32, c.rows, c.cols)
			want := flat(ref.ReLUBackward(dy, x))
			ReLUBackward(b.r, y, td, tx)
			ReLU(b.r, tx, tx)
			ReLUBackward(b.r, td, td, tx)
			if !slices.Equal(b.download(y), want) || !slices.Equal(b.download(td), want) {
				t.Errorf("%v: elements differ", c)
			}
		}
	})
}

func TestReLUBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x := b.empty(dtype.F32, 4, 6)
	refused(t, d, "another shape", func(r *vk.Recorder) { ReLUBackward(r, x, x, x.RowRange(0, 3)) })
	refused(t, d, "16-bit y", func(r *vk.Recorder) { ReLUBackward(r, x, x, Of(x.View, dtype.BF16, 4, 6)) })
}

func BenchmarkReLUBackward(b *testing.B) {
	f := newBench(b, vktest.Open(b, vk.Options{}))
	x := func() Tensor { return f.upload(random(2048, 384), dtype.F32) }
	dx, dy, y := x(), x(), x()
	f.measure(20, func() { ReLUBackward(f.r, dx, dy, y) })
}
