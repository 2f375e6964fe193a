package op

import (
	"fmt"
	"math"
	"testing"

	"github.com/x448/float16"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// tohalfBound is of tohalf.
var tohalfBound = optest.Bound{Max: 5e-4, Why: "half a unit of 11 bits, 2^-11 at most where the significand is 1, and a rounding of the norm"}

// halfWant is a row times the power of two that brings its largest element into [2^14, 2^15), in f16, and what undoes that.
func halfWant(row []float64) (half []float32, unscale float64) {
	largest := 0.0
	for _, v := range row {
		largest = max(largest, math.Abs(v))
	}
	unscale = 1
	if largest > 0 && !math.IsInf(largest, 0) {
		_, exponent := math.Frexp(largest) // largest is in [2^(exponent−1), 2^exponent)
		unscale = math.Ldexp(1, exponent-15)
	}
	for _, v := range row {
		half = append(half, float16.Fromfloat32(float32(v/unscale)).Float32())
	}
	return half, unscale
}

func TestToHalf(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, cols := range []int{4, 120, 1028} {
			scales := []float64{1, 1e6, 1e-6, 3e37, 1e-30, 0}
			x := random(len(scales), cols)
			for i, s := range scales {
				for j := range x.Row(i) {
					x.Row(i)[j] *= s
				}
				x.Row(i)[i%cols] /= 1 << 20 // subnormal in f16
			}
			x.Row(1)[2] = math.Inf(-1)
			b := newBench(t, d)
			y, unscale := b.empty(dtype.F16, x.Rows, cols), b.empty(dtype.F32, x.Rows, 1)
			toHalf(b.r, y, unscale, b.upload(x, dtype.F32), Tensor{}, 0)
			got, scale := b.download(y), b.download(unscale)
			for i := range x.Rows {
				want, undo := halfWant(x.Row(i))
				if float64(scale[i]) != undo {
					t.Errorf("%d columns, row %d: scale %v, want %v", cols, i, scale[i], undo)
				}
				for j, w := range want {
					if got[i*cols+j] != w {
						t.Fatalf("%d columns, row %d, column %d: %v, want %v of %v", cols, i, j, got[i*cols+j], w, x.Row(i)[j])
					}
				}
			}
		}
	})
}

// The norm's factor differs by its rounding, so that f16's may fall the other way: one bit.
func TestToHalfNorm(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, dt := range dtype.All {
			t.Run(fmt.Sprint(dt), func(t *testing.T) {
				b := newBench(t, d)
				x, norm := random(5, 300), random(1, 300)
				y, unscale := b.empty(dtype.F16, 5, 300), b.empty(dtype.F32, 5, 1)
				toHalf(b.r, y, unscale, b.upload(x, dtype.F32), b.upload(norm, dt), 1e-5)
				got, scale := b.download(y), b.download(unscale)
				for i := range got {
					got[i] *= scale[i/300]
				}
				tohalfBound.Near(t, got, ref.RMSNorm(x, norm.Data, 1e-5).Data, dt)
			})
		}
	})
}

func TestToHalfShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, y, scale := b.empty(dtype.F32, 2, 8), b.empty(dtype.F16, 2, 8), b.empty(dtype.F32, 2, 1)
	refused(t, d, "another shape", func(r *vk.Recorder) { toHalf(r, y.Reshape(4, 4), scale, x, Tensor{}, 0) })
	refused(t, d, "another dtype", func(r *vk.Recorder) { toHalf(r, x, scale, x, Tensor{}, 0) })
	refused(t, d, "one scale", func(r *vk.Recorder) { toHalf(r, y, scale.RowRange(0, 1), x, Tensor{}, 0) })
	refused(t, d, "a norm of another size", func(r *vk.Recorder) { toHalf(r, y, scale, x, scale, 0) })
	refused(t, d, "columns in threes", func(r *vk.Recorder) {
		toHalf(r, y.Reshape(8, 2), b.empty(dtype.F32, 8, 1), x.Reshape(8, 2), Tensor{}, 0)
	})
}
