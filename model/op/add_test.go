package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// addBound is of add.
var addBound = optest.Bound{Max: 1e-7, Why: "one f32 rounding"}

func TestAdd(t *testing.T) {
	eachAndSplit(t, func(t *testing.T, d *vk.Device, split bool) {
		for _, c := range []struct{ rows, cols int }{{1, 1}, {1, 3}, {7, 120}, {3, 1999}, {1, 4096}, {1001, 703}} {
			if split && c.rows < 1001 {
				continue
			}
			a := random(c.rows, c.cols)
			z := block(random(c.rows, c.cols+1), 0, c.rows, 1, c.cols+1)
			b := newBench(t, d)
			da, dz, y := b.upload(a, dtype.F32), b.upload(z, dtype.F32), b.empty(dtype.F32, c.rows, c.cols)
			want := ref.Add(a, z)
			Add(b.r, y, da, dz)
			Add(b.r, da, da, y)
			Add(b.r, dz, y, dz)
			addBound.Near(t, b.download(y), want.Data, dtype.F32)
			addBound.Near(t, b.download(da), ref.Add(a, want).Data, dtype.F32)
			addBound.Near(t, b.download(dz), ref.Add(z, want).Data, dtype.F32)
		}
	})
}

func TestAddShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x := b.empty(dtype.F32, 4, 6)
	refused(t, d, "another shape", func(r *vk.Recorder) { Add(r, x, x, x.Reshape(6, 4)) })
	refused(t, d, "16-bit sum", func(r *vk.Recorder) { Add(r, Of(x.View, dtype.F16, 4, 6), x, x) })
	refused(t, d, "absent tensors", func(r *vk.Recorder) { Add(r, Tensor{}, Tensor{}, Tensor{}) })
}

func BenchmarkAdd(b *testing.B) {
	f := newBench(b, vktest.Open(b, vk.Options{}))
	x := func() Tensor { return f.upload(random(2048, 384), dtype.F32) }
	y, a, z := x(), x(), x()
	f.measure(20, func() { Add(f.r, y, a, z) })
}
