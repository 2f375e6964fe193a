package op

import (
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestPositionsBackward(t *testing.T) {
	eachAndSplit(t, func(t *testing.T, d *vk.Device, split bool) {
		for _, c := range []struct {
			rows, hidden, window, start, positions int
			large                                  bool // beyond 1 MiB
		}{
			{1, 1, 1, 0, 1, false}, {7, 120, 7, 5, 12, false}, {15, 65, 5, 2, 9, false}, {3, 33, 9, 1, 4, false}, {17, 3, 5, 0, 5, false},
			{40000, 2, 1, 3, 5, false},
			{1403, 501, 100, 2, 102, true}, // dy
			{1450, 401, 700, 2, 702, true}, // both
		} {
			if split && !c.large {
				continue
			}
			dy, table, at := random(c.rows, c.hidden), random(c.positions, c.hidden), make([]int, c.rows)
			for row := range at {
				at[row] = c.start + row%c.window
			}
			b := newBench(t, d)
			td, sums := b.upload(dy, dtype.F32), b.upload(table, dtype.F32)
			PositionsBackward(b.r, sums, td, c.window, c.start)
			got, want := b.download(sums), sequential(table, dy, at)
			if !slices.Equal(got, want) {
				t.Errorf("%v: not the bits of additions in order", c)
			}
			ref.EmbeddingBackward(table, dy, at)
			embeddingBackwardBound.Near(t, got, table.Data, dtype.F32)
		}
	})
}

func TestPositionsBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	table, dy := b.empty(dtype.F32, 6, 6), b.empty(dtype.F32, 4, 6)
	refused(t, d, "positions past the table", func(r *vk.Recorder) { PositionsBackward(r, table, dy, 4, 3) })
	refused(t, d, "another width", func(r *vk.Recorder) { PositionsBackward(r, b.empty(dtype.F32, 6, 5), dy, 4, 0) })
	refused(t, d, "no window", func(r *vk.Recorder) { PositionsBackward(r, table, dy, 0, 0) })
	refused(t, d, "a negative start", func(r *vk.Recorder) { PositionsBackward(r, table, dy, 4, -1) })
	refused(t, d, "16-bit dy", func(r *vk.Recorder) { PositionsBackward(r, table, Of(dy.View, dtype.F16, 4, 6), 4, 0) })
}
