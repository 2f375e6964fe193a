package op

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Bits are copied, so equality is exact.
func TestTranspose(t *testing.T) {
	check := func(t *testing.T, d *vk.Device, rows, cols int, dt dtype.DType) {
		t.Run(fmt.Sprintf("%dx%d,%v", rows, cols, dt), func(t *testing.T) {
			b := newBench(t, d)
			m := random(rows, cols)
			x, y := b.upload(m, dt), b.empty(dt, cols, rows)
			Transpose(b.r, y, x)
			if !slices.Equal(b.download(y), flat(ref.Transpose(m))) {
				t.Error("elements differ")
			}
		})
	}
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, dt := range dtype.All {
			for _, c := range [][2]int{{1, 1}, {1, 9}, {9, 1}, {2, 3}, {3, 2}, {7, 127}, {128, 33}, {33, 128}, {8, 8}, {24, 40}, {72, 136}, {4, 20}, {65, 65}, {304, 16}} {
				check(t, d, c[0], c[1], dt)
			}
		}
	})
	t.Run("split", func(t *testing.T) {
		for _, tier := range []vk.Tier{vk.Baseline, vk.Subgroup} {
			d := vktest.Open(t, vk.Options{StorageRange: 1 << 20, MaxTier: &tier})
			for _, dt := range dtype.All {
				for _, c := range [][2]int{{1000, 1016}, {703, 1001}, {1002, 703}} {
					check(t, d, c[0], c[1], dt)
				}
			}
		}
		vktest.Clean(t)
	})
}

// An odd tensor's last word is shared with what follows.
func TestTransposeKeeps(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		x, y := b.upload(random(3, 5), dtype.BF16), b.upload(ref.Mat{Rows: 1, Cols: 16, Data: make([]float64, 16)}, dtype.BF16)
		y.View = b.raw([]byte{31: 0x40}, dtype.BF16, 1, 16).View
		Transpose(b.r, Of(y.View, dtype.BF16, 5, 3), x)
		if got := b.download(y)[15]; got != 2 {
			t.Errorf("the element behind the last is %v, want 2", got)
		}
	})
}

func TestTransposeShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, y := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 6, 4)
	refused(t, d, "the same shape", func(r *vk.Recorder) { Transpose(r, y.Reshape(4, 6), x) })
	refused(t, d, "another dtype", func(r *vk.Recorder) { Transpose(r, Of(y.View, dtype.F16, 6, 4), x) })
	refused(t, d, "nothing", func(r *vk.Recorder) { Transpose(r, Tensor{}, Tensor{}) })
}

func BenchmarkTranspose(b *testing.B) {
	d := vktest.Open(b, vk.Options{})
	for _, dt := range []dtype.DType{dtype.F32, dtype.BF16} {
		for _, c := range [][2]int{{2048, 384}, {384, 2048}, {2048, 128}, {2048, 2048}, {2045, 381}} {
			b.Run(fmt.Sprintf("%dx%d,%v", c[0], c[1], dt), func(b *testing.B) {
				w := newBench(b, d)
				x, y := w.upload(random(c[0], c[1]), dt), w.empty(dt, c[1], c[0])
				w.measure(20, func() { Transpose(w.r, y, x) })
			})
		}
	}
}
