package op

import (
	"math"
	"slices"
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

// restWant is what f16 loses of a row that halfWant made, in f16.
func restWant(row []float64, half []float32, unscale float64) (rest []float32) {
	for j, v := range row {
		rest = append(rest, float16.Fromfloat32(float32(v/unscale-float64(half[j]))).Float32())
	}
	return rest
}

func tohalfTable() optest.Table {
	return optest.Table{Op: "tohalf", Bound: tohalfBound, Cases: func() (cases []optest.Case) {
		for _, cols := range []int{4, 120, 1028} {
			cases = append(cases, tohalfCase(cols, false), tohalfCase(cols, true))
		}
		for _, dt := range dtype.All {
			cases = append(cases, tohalfNormCase(5, 300, dt, false), tohalfNormCase(3, 64, dt, true))
		}
		return append(cases, tohalfNormCase(512, 384, dtype.BF16, false))
	}}
}

// tohalfCase has rows of many sizes, each with an element that is subnormal in f16.
func tohalfCase(cols int, parts bool) optest.Case {
	scales := []float64{1, 1e6, 1e-6, 3e37, 1e-30, 0}
	x := random(len(scales), cols)
	for i, s := range scales {
		for j := range x.Row(i) {
			x.Row(i)[j] *= s
		}
		x.Row(i)[i%cols] /= 1 << 20
	}
	wide := cols
	if parts { // what f16 loses of infinity is no number
		wide *= partsOf
	} else {
		x.Row(1)[2] = math.Inf(-1)
	}
	return optest.Case{
		Name: optest.Shape(x.Rows, cols, parts), In: f32s(x), Out: append(exact(dtype.F16, x.Rows, wide), exact(dtype.F32, x.Rows, 1)...),
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			toHalf(r, Tensor(out[0]), Tensor(out[1]), Tensor(in[0]), Tensor{}, 0, false)
		},
		Want: func(in []ref.Mat) []ref.Mat {
			y, unscale := ref.NewMat(x.Rows, wide), ref.NewMat(x.Rows, 1)
			for i := range x.Rows {
				var half []float32
				half, unscale.Data[i] = halfWant(in[0].Row(i))
				if parts {
					half = append(half, restWant(in[0].Row(i), half, unscale.Data[i])...)
				}
				for j, v := range half {
					y.Row(i)[j] = float64(v)
				}
			}
			return []ref.Mat{y, unscale}
		},
	}
}

// tohalfNormCase has a norm: its factor differs by its rounding, so that f16's may fall the other way: one bit.
func tohalfNormCase(rows, cols int, dt dtype.DType, plusOne bool) optest.Case {
	return optest.Case{
		Name: optest.Shape(rows, cols, "norm", dt, plusOne), Of: dt, In: []optest.Input{{Mat: random(rows, cols)}, {Mat: random(1, cols), DType: dt}},
		Out: []optest.Output{{DType: dtype.F16, Rows: rows, Cols: cols}, {Rows: rows, Cols: 1}},
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			toHalf(r, Tensor(out[0]), Tensor(out[1]), Tensor(in[0]), Tensor(in[1]), 1e-5, plusOne)
		},
		Check: func(t testing.TB, got [][]float32, in []ref.Mat) {
			t.Helper()
			x := slices.Clone(got[0])
			for i := range x {
				x[i] *= got[1][i/cols]
			}
			tohalfBound.Near(t, x, ref.RMSNorm(in[0], weightsOf(in[1], plusOne), 1e-5).Data, dt)
		},
		Measured: rows == 512,
	}
}

func TestToHalf(t *testing.T) { tohalfTable().Test(t) }

func BenchmarkToHalf(b *testing.B) { tohalfTable().Benchmark(b) }

func TestToHalfShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, y, scale := b.empty(dtype.F32, 2, 8), b.empty(dtype.F16, 2, 8), b.empty(dtype.F32, 2, 1)
	refused(t, d, "another shape", func(r *vk.Recorder) { toHalf(r, y.Reshape(4, 4), scale, x, Tensor{}, 0, false) })
	refused(t, d, "another dtype", func(r *vk.Recorder) { toHalf(r, x, scale, x, Tensor{}, 0, false) })
	refused(t, d, "one scale", func(r *vk.Recorder) { toHalf(r, y, scale.RowRange(0, 1), x, Tensor{}, 0, false) })
	refused(t, d, "a norm of another size", func(r *vk.Recorder) { toHalf(r, y, scale, x, scale, 0, false) })
	refused(t, d, "columns in threes", func(r *vk.Recorder) {
		toHalf(r, y.Reshape(8, 2), b.empty(dtype.F32, 8, 1), x.Reshape(8, 2), Tensor{}, 0, false)
	})
}
