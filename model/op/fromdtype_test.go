package op

import (
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestFromDType(t *testing.T) {
	eachTierAndSplit(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			rows, cols int
			dtype      dtype.DType
		}{{1, 1, dtype.F16}, {1, 3, dtype.F32}, {5, 77, dtype.BF16}, {64, 384, dtype.F16}, {513, 1031, dtype.BF16}, {513, 1031, dtype.F32}} {
			b := newBench(t, d)
			w := random(c.rows, c.cols)
			dw, y := b.upload(w, c.dtype), b.empty(dtype.F32, c.rows, c.cols)
			FromDType(b.r, y, dw)
			same(t, c.dtype.String(), b.download(y), b.download(dw))
		}
	})
}

func TestZero(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		x := b.empty(dtype.F32, 7, 3)
		Zero(b.r, x.RowRange(1, 6))
		for i, v := range b.download(x) {
			if inside := i >= 3 && i < 18; inside != (math.Float32bits(v) == 0) {
				t.Errorf("element %d is %v", i, v)
			}
		}
	})
}
