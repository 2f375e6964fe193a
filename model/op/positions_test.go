package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestAddPositions(t *testing.T) {
	eachAndSplit(t, func(t *testing.T, d *vk.Device, split bool) {
		for _, c := range []struct {
			rows, hidden, window, start, positions int
			dtype                                  dtype.DType
			large                                  bool // beyond 1 MiB
		}{
			{1, 1, 1, 0, 1, dtype.F32, false}, {7, 120, 7, 5, 12, dtype.BF16, false}, {15, 65, 5, 2, 9, dtype.F16, false}, {3, 33, 9, 1, 4, dtype.BF16, false},
			{700, 501, 100, 2, 102, dtype.F16, true},  // y
			{1400, 401, 700, 2, 702, dtype.F32, true}, // both
		} {
			if split && !c.large {
				continue
			}
			x, table := random(c.rows, c.hidden), random(c.positions, c.hidden)
			positions := make([]int, c.rows)
			for row := range positions {
				positions[row] = c.start + row%c.window
			}
			b := newBench(t, d)
			dx, dt := b.upload(x, dtype.F32), b.upload(table, c.dtype)
			AddPositions(b.r, dx, dt, c.window, c.start)
			addBound.Near(t, b.download(dx), ref.AddPositions(x, table, positions).Data, dtype.F32)
		}
	})
}

func TestAddPositionsShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	y, table := b.empty(dtype.F32, 4, 6), b.empty(dtype.BF16, 6, 6)
	refused(t, d, "positions past the table", func(r *vk.Recorder) { AddPositions(r, y, table, 4, 3) })
	refused(t, d, "another width", func(r *vk.Recorder) { AddPositions(r, y, b.empty(dtype.F32, 6, 5), 4, 0) })
	refused(t, d, "no window", func(r *vk.Recorder) { AddPositions(r, y, table, 0, 0) })
	refused(t, d, "a negative start", func(r *vk.Recorder) { AddPositions(r, y, table, 4, -1) })
	refused(t, d, "16-bit y", func(r *vk.Recorder) { AddPositions(r, Of(y.View, dtype.F16, 4, 6), table, 4, 0) })
}
