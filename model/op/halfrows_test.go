package op

import (
	"math"
	"testing"

	"github.com/x448/float16"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func halfrowsTable() optest.Table {
	return optest.Table{Op: "halfrows", Cases: func() (cases []optest.Case) {
		for _, cols := range []int{8, 120, 1032} {
			cases = append(cases, halfrowsCase(cols, dtype.BF16, false), halfrowsCase(cols, dtype.F32, false), halfrowsCase(cols, dtype.F32, true))
		}
		return cases
	}}
}

// halfrowsCase has rows of many sizes, each with an element far below the others, and one that is not finite.
func halfrowsCase(cols int, dt dtype.DType, parts bool) optest.Case {
	scales := []float64{1, 1e6, 1e-6, 3e37, 1e-25, 0} // times 2^-30 still no subnormal of f32, which a device may take for zero
	w := random(len(scales), cols)
	for i, s := range scales {
		for j := range w.Row(i) {
			w.Row(i)[j] *= s
		}
		w.Row(i)[i%cols] /= 1 << 30
	}
	if !parts { // what f16 loses of it is no number
		w.Row(1)[2] = math.Inf(-1)
	}
	words := int(halfRowBytes(cols, parts) / 4)
	return optest.Case{
		Name: optest.Shape(w.Rows, cols, dt, parts), In: []optest.Input{{Mat: w, DType: dt}}, Out: exact(dtype.F32, w.Rows, words),
		Record: func(r *vk.Recorder, out, in []optest.Tensor) { halfRows(r, Tensor(out[0]), Tensor(in[0])) },
		Check: func(t testing.TB, got [][]float32, in []ref.Mat) {
			t.Helper()
			for i := range w.Rows {
				half, unscale := halfWant(in[0].Row(i))
				if parts {
					half = append(half, restWant(in[0].Row(i), half, unscale)...)
				}
				want := make([]uint32, words) // two f16 in each, then the scale and zeros
				for j, v := range half {
					want[j/2] |= uint32(float16.Fromfloat32(v).Bits()) << (16 * (j % 2))
				}
				want[words-4] = math.Float32bits(float32(unscale))
				for j, bits := range want {
					if y := math.Float32bits(got[0][i*words+j]); y != bits {
						t.Fatalf("word %d of row %d is %#x, want %#x", j, i, y, bits)
					}
				}
			}
		},
	}
}

func TestHalfRows(t *testing.T) { halfrowsTable().Test(t) }

func TestHalfRowsShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	y, w := b.empty(dtype.F32, 2, 8), b.empty(dtype.BF16, 2, 8)
	refused(t, d, "no room for the scale", func(r *vk.Recorder) { halfRows(r, y.Reshape(4, 4), w) })
	refused(t, d, "f16 already", func(r *vk.Recorder) { halfRows(r, y, Tensor{w.View, dtype.F16, 2, 8}) })
	refused(t, d, "columns in fours", func(r *vk.Recorder) { halfRows(r, b.empty(dtype.F32, 4, 6), w.Reshape(4, 4)) })
}
