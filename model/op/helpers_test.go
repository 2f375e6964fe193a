package op

import (
	"errors"
	"testing"

	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// refused checks that an operation makes a *ShapeError the recorder's.
func refused(t *testing.T, d *vk.Device, what string, record func(r *vk.Recorder)) {
	t.Helper()
	b := newBench(t, d)
	record(b.r)
	var shape *ShapeError
	if !errors.As(b.r.Err(), &shape) {
		t.Errorf("%s: error %v, want a *ShapeError", what, b.r.Err())
	}
}

// eachAndSplit runs f on every device, and once more where a binding holds no more than 1 MiB.
func eachAndSplit(t *testing.T, f func(t *testing.T, d *vk.Device, split bool)) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) { f(t, d, false) })
	t.Run("split", func(t *testing.T) {
		f(t, vktest.Open(t, vk.Options{StorageRange: 1 << 20}), true)
		vktest.Clean(t)
	})
}

// block is rows [row, rowEnd) and columns [col, colEnd) of m.
func block(m ref.Mat, row, rowEnd, col, colEnd int) ref.Mat {
	y := ref.NewMat(rowEnd-row, colEnd-col)
	for i := range y.Rows {
		copy(y.Row(i), m.Row(row + i)[col:colEnd])
	}
	return y
}
