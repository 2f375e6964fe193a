package op

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// sensitivityBound is of sensitivity.
var sensitivityBound = optest.Bound{Max: 3e-6, Why: "two abssums and a sum of their products"}

// columnsumBound is of columnsum.
var columnsumBound = optest.Bound{Max: 2e-6, Why: "abssum, of terms that nearly cancel: the partial sums are as large as the result's deviation"}

// abssumBound is of abssum.
var abssumBound = optest.Bound{Max: 1e-6, Why: "some hundred f32 additions in a row, their roundings random"}

func TestAbsSum(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct{ windows, window, channels int }{{1, 1, 1}, {3, 65, 127}, {2, 64, 64}, {5, 1, 130}, {1, 32768, 3}, {2, 33000, 2}} {
			b := newBench(t, d)
			x := random(c.windows*c.window, c.channels)
			sums := b.empty(dtype.F32, c.windows, c.channels)
			AbsSum(b.r, sums, b.upload(x, dtype.F32), c.window)
			var want []float64
			for g := range c.windows {
				want = append(want, ref.AbsSum(block(x, g*c.window, (g+1)*c.window, 0, c.channels))...)
			}
			abssumBound.Near(t, b.download(sums), want, dtype.F32)
		}
	})
}

func TestSquareSum(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			windows, window, channels int
			dtype                     dtype.DType
		}{{1, 1, 1, dtype.F32}, {3, 65, 127, dtype.F32}, {2, 64, 64, dtype.F32}, {5, 1, 130, dtype.F32}, {1, 120, 127, dtype.F16}, {1, 200, 384, dtype.BF16}, {1, 40000, 3, dtype.BF16}} {
			b := newBench(t, d)
			x := random(c.windows*c.window, c.channels)
			dx, sums := b.upload(x, c.dtype), b.empty(dtype.F32, c.windows, c.channels)
			SquareSum(b.r, sums, dx, c.window)
			var want []float64
			for g := range c.windows {
				want = append(want, ref.SquareSum(block(x, g*c.window, (g+1)*c.window, 0, c.channels))...)
			}
			abssumBound.Near(t, b.download(sums), want, c.dtype)
		}
	})
}

func TestColumnAbsSum(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			rows, cols int
			dtype      dtype.DType
		}{{1, 1, dtype.BF16}, {120, 127, dtype.F16}, {65, 384, dtype.BF16}, {200, 33, dtype.F32}, {32768, 3, dtype.BF16}, {60001, 1, dtype.F16}} {
			b := newBench(t, d)
			w := random(c.rows, c.cols)
			dw, sums := b.upload(w, c.dtype), b.empty(dtype.F32, 1, c.cols)
			ColumnAbsSum(b.r, sums, dw)
			abssumBound.Near(t, b.download(sums), ref.ColumnAbsSum(w), c.dtype)
		}
	})
}

func TestColumnSum(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			rows, cols int
			dtype      dtype.DType
		}{{1, 1, dtype.BF16}, {120, 127, dtype.F16}, {65, 384, dtype.BF16}, {200, 33, dtype.F32}, {300, 36, dtype.F32}, {65536, 4, dtype.F32}, {60001, 1, dtype.F16}} {
			b := newBench(t, d)
			x := random(c.rows, c.cols)
			tx, sums := b.upload(x, c.dtype), b.empty(dtype.F32, 1, c.cols)
			want := ref.ColumnSum(x)
			ColumnSum(b.r, sums, tx, false)
			columnsumBound.Near(t, b.download(sums), want, c.dtype)
			ColumnSum(b.r, sums, tx, true)
			for i := range want {
				want[i] *= 2
			}
			columnsumBound.Near(t, b.download(sums), want, c.dtype)
		}
	})
}

func TestColumnAbsDot(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			rows, cols int
			dtype      dtype.DType
		}{{1, 1, dtype.BF16}, {120, 127, dtype.F16}, {65, 384, dtype.BF16}, {200, 33, dtype.F32}, {40, 36, dtype.F32}, {33000, 8, dtype.BF16}} {
			b := newBench(t, d)
			w, wide := random(c.rows, c.cols), random(c.rows, c.cols+1)
			g := block(wide, 0, c.rows, 1, c.cols+1)
			tw, tg, sums := b.upload(w, c.dtype), b.upload(g, dtype.F32), b.upload(ref.Mat{Rows: 1, Cols: c.cols, Data: make([]float64, c.cols)}, dtype.F32)
			want := ref.ColumnAbsDot(w, g)
			ColumnAbsDot(b.r, sums, tw, tg)
			abssumBound.Near(t, b.download(sums), want, c.dtype)
			ColumnAbsDot(b.r, sums, tw, tg)
			for i := range want {
				want[i] *= 2
			}
			abssumBound.Near(t, b.download(sums), want, c.dtype)
		}
	})
}

// What a device that binds 1 MiB cuts into pieces must give the bits that it gives in one.
func TestAbsSumSplit(t *testing.T) {
	whole, split := vktest.Open(t, vk.Options{}), vktest.Open(t, vk.Options{StorageRange: 1 << 20})
	for _, c := range []struct {
		windows, window, cols int
		dtype                 dtype.DType
	}{{7, 100, 1001, dtype.F32}, {2, 1500, 257, dtype.F32}, {1, 2000, 257, dtype.F32}, {1, 1100, 1407, dtype.BF16}, {1, 1100, 1408, dtype.BF16}} {
		x, g := random(c.windows*c.window, c.cols), random(c.windows*c.window, c.cols)
		run := func(d *vk.Device) []float32 {
			b := newBench(t, d)
			dx, sums := b.upload(x, c.dtype), b.empty(dtype.F32, c.windows, c.cols)
			if c.windows == 1 {
				ColumnAbsSum(b.r, sums, dx)
				ColumnSum(b.r, sums, dx, true)
				ColumnAbsDot(b.r, sums, dx, b.upload(g, dtype.F32))
			} else {
				AbsSum(b.r, sums, dx, c.window)
			}
			return b.download(sums)
		}
		if !slices.Equal(run(whole), run(split)) {
			t.Errorf("%v: bindings of 1 MiB change the sums", c)
		}
	}
	vktest.Clean(t)
}

func TestSensitivity(t *testing.T) {
	eachAndSplit(t, func(t *testing.T, d *vk.Device, split bool) {
		for _, c := range []struct {
			windows, window, kvHeads, group, headDim, hidden int // headDim 0: neurons, kvHeads of them
			dtype                                            dtype.DType
		}{
			{1, 1, 1, 1, 0, 1, dtype.F32}, {3, 5, 127, 1, 0, 40, dtype.BF16}, {2, 9, 3, 4, 20, 33, dtype.F16},
			{4, 7, 1, 5, 24, 120, dtype.BF16}, {300, 1, 3, 3, 80, 16, dtype.F32}, {400, 1, 701, 1, 0, 8, dtype.F16},
		} {
			b := newBench(t, d)
			width := c.group * max(c.headDim, 1)
			x, w := random(c.windows*c.window, c.kvHeads*width), random(c.hidden, c.kvHeads*width)
			dx, dw := b.upload(x, dtype.F32), b.upload(w, c.dtype)
			sums, columns, s := b.empty(dtype.F32, c.windows, x.Cols), b.empty(dtype.F32, 1, x.Cols), b.empty(dtype.F32, 1, c.kvHeads)
			AbsSum(b.r, sums, dx, c.window)
			ColumnAbsSum(b.r, columns, dw)
			Sensitivity(b.r, s, sums, columns, width, x.Rows)
			want := ref.NeuronSensitivity(x, w)
			if c.headDim > 0 {
				want = ref.HeadGroupSensitivity(x, w, c.kvHeads, c.group, c.headDim)
			}
			sensitivityBound.Near(t, b.download(s), want, c.dtype)
		}
	})
}

func TestSensitivityShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, sums, columns, s := b.empty(dtype.F32, 12, 10), b.empty(dtype.F32, 3, 10), b.empty(dtype.F32, 1, 10), b.empty(dtype.F32, 1, 5)
	refused(t, d, "a window that does not divide the rows", func(r *vk.Recorder) { AbsSum(r, sums, x, 5) })
	refused(t, d, "16-bit activations", func(r *vk.Recorder) { AbsSum(r, sums, Of(x.View, dtype.BF16, 12, 10), 4) })
	refused(t, d, "16-bit sums", func(r *vk.Recorder) { ColumnAbsSum(r, Of(columns.View, dtype.F16, 1, 10), x) })
	refused(t, d, "16-bit sums of squares", func(r *vk.Recorder) { SquareSum(r, Of(sums.View, dtype.F16, 3, 10), x, 4) })
	refused(t, d, "no window", func(r *vk.Recorder) { AbsSum(r, sums, x, 0) })
	refused(t, d, "other columns", func(r *vk.Recorder) { ColumnAbsSum(r, columns, x.Reshape(10, 12)) })
	refused(t, d, "16-bit column sums", func(r *vk.Recorder) { ColumnSum(r, Of(columns.View, dtype.F16, 1, 10), x, false) })
	refused(t, d, "a gradient of another shape", func(r *vk.Recorder) { ColumnAbsDot(r, columns, x, x.RowRange(0, 11)) })
	refused(t, d, "a gradient of 16 bits", func(r *vk.Recorder) { ColumnAbsDot(r, columns, x, Of(x.View, dtype.F16, 12, 10)) })
	refused(t, d, "absent weight", func(r *vk.Recorder) { ColumnAbsSum(r, columns, Tensor{}) })
	refused(t, d, "a width that does not divide the channels", func(r *vk.Recorder) { Sensitivity(r, Of(s.View, dtype.F32, 1, 3), sums, columns, 3, 12) })
	refused(t, d, "no tokens", func(r *vk.Recorder) { Sensitivity(r, s, sums, columns, 2, 0) })
	refused(t, d, "no width", func(r *vk.Recorder) { Sensitivity(r, s, sums, columns, 0, 12) })
}

func BenchmarkColumnSum(b *testing.B) {
	d := vktest.Open(b, vk.Options{})
	for _, c := range [][2]int{{2048, 384}, {2048, 128}} {
		b.Run(fmt.Sprintf("%dx%d", c[0], c[1]), func(b *testing.B) {
			f := newBench(b, d)
			x, sums := f.upload(random(c[0], c[1]), dtype.F32), f.empty(dtype.F32, 1, c[1])
			f.measure(20, func() { ColumnSum(f.r, sums, x, false) })
		})
	}
}
