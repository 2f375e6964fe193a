package op

import (
	"fmt"
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// ropeBound is of rope.
var ropeBound = optest.Bound{Max: 3e-7, Why: "three f32 roundings, and that of the cosines and sines"}

// ropeTable is [positions, headDim]: cosines, then sines.
func ropeTable(freqs []float64, positions int) ref.Mat {
	table := ref.NewMat(positions, 2*len(freqs))
	for p := range positions {
		for i, f := range freqs {
			table.Row(p)[len(freqs)+i], table.Row(p)[i] = math.Sincos(float64(p) * f)
		}
	}
	return table
}

func TestRoPE(t *testing.T) {
	run := func(t *testing.T, d *vk.Device, split bool) {
		for _, c := range []struct {
			rows, heads, headDim, window, start, positions int
			large                                          bool // beyond 1 MiB
		}{
			{1, 1, 2, 1, 0, 1, false}, {7, 3, 20, 7, 5, 12, false}, {15, 2, 24, 5, 3, 8, false}, {4, 1, 80, 9, 0, 4, false},
			{37, 5, 16, 11, 2, 13, false}, {33, 9, 8, 40, 0, 40, false}, {16, 3, 24, 1, 1, 2, false},
			{2, 2, 8, 2, 131070, 131072, true}, // the table
			{70, 1201, 6, 35, 1, 36, true},     // x
			{2300, 60, 6, 1150, 0, 1150, true}, // x, windows not at its pieces
			{2300, 50, 8, 1150, 0, 1150, true},
			{90100, 1, 6, 45050, 1, 45051, true}, // windows of which a binding does not hold the positions
		} {
			if split && !c.large {
				continue
			}
			freqs := ref.RopeFrequencies(c.headDim, 1e4, ref.RopeScaling{})
			x := random(c.rows, c.heads*c.headDim)
			positions := make([]int, c.rows)
			for row := range positions {
				positions[row] = c.start + row%c.window
			}
			b := newBench(t, d)
			dx, table := b.upload(x, dtype.F32), b.upload(ropeTable(freqs, c.positions), dtype.F32)
			RoPE(b.r, dx, table, c.headDim, c.window, c.start)
			want := ref.RoPE(x, c.headDim, positions, freqs)
			ropeBound.Near(t, b.download(dx), want.Data, dtype.F32)
			dy := b.upload(want, dtype.F32)
			RoPEBackward(b.r, dy, table, c.headDim, c.window, c.start)
			ropeBound.Near(t, b.download(dy), ref.RoPEBackward(want, c.headDim, positions, freqs).Data, dtype.F32)
		}
	}
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) { run(t, d, false) })
	t.Run("split", func(t *testing.T) {
		run(t, vktest.Open(t, vk.Options{StorageRange: 1 << 20}), true)
		vktest.Clean(t)
	})
}

func TestRoPEShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, table := b.empty(dtype.F32, 4, 24), b.empty(dtype.F32, 6, 8)
	refused(t, d, "positions past the table", func(r *vk.Recorder) { RoPE(r, x, table, 8, 4, 3) })
	refused(t, d, "another table", func(r *vk.Recorder) { RoPE(r, x, table, 6, 4, 0) })
	refused(t, d, "heads that do not divide a row", func(r *vk.Recorder) { RoPE(r, x, b.empty(dtype.F32, 6, 10), 10, 4, 0) })
	refused(t, d, "an odd head", func(r *vk.Recorder) { RoPE(r, x, b.empty(dtype.F32, 6, 3), 3, 4, 0) })
	refused(t, d, "no window", func(r *vk.Recorder) { RoPE(r, x, table, 8, 0, 0) })
	refused(t, d, "a negative start", func(r *vk.Recorder) { RoPE(r, x, table, 8, 4, -1) })
	refused(t, d, "16-bit x", func(r *vk.Recorder) { RoPE(r, Of(x.View, dtype.F16, 4, 24), table, 8, 4, 0) })
}

func BenchmarkRoPE(b *testing.B) {
	d := vktest.Open(b, vk.Options{})
	for _, c := range []struct{ rows, cols, headDim int }{{2048, 128, 16}, {2048, 64, 16}, {256, 2048, 64}, {1, 512, 64}} {
		b.Run(fmt.Sprintf("%dx%d,%d", c.rows, c.cols, c.headDim), func(b *testing.B) {
			f := newBench(b, d)
			x, table := f.upload(random(c.rows, c.cols), dtype.F32), f.upload(ropeTable(ref.RopeFrequencies(c.headDim, 1e4, ref.RopeScaling{}), 256), dtype.F32)
			f.measure(20, func() { RoPEBackward(f.r, x, table, c.headDim, 256, 0) })
		})
	}
}
