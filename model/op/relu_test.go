package op

import (
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Nothing is computed, so equality is exact.
func reluTable() optest.Table {
	return optest.Table{Op: "relu", Cases: func() (cases []optest.Case) {
		for _, c := range []struct{ rows, cols int }{{1, 1}, {1, 3}, {7, 127}, {3, 1408}, {1001, 703}, {2048, 384}} {
			x := random(c.rows, c.cols)
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.cols), In: f32s(x), Out: likes(x), InPlace: [][]int{{0}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) { ReLU(r, Tensor(out[0]), Tensor(in[0])) },
				Want:   func(in []ref.Mat) []ref.Mat { return []ref.Mat{ref.ReLU(in[0])} },
				Large:  c.rows > 1000, Measured: c.rows == 2048,
			})
		}
		return cases
	}}
}

func TestReLU(t *testing.T) { reluTable().Test(t) }

func BenchmarkReLU(b *testing.B) { reluTable().Benchmark(b) }

// A NaN is not hidden: that is how a run finds out where it went wrong.
func TestReLUSpecial(t *testing.T) {
	in := ref.Mat{Rows: 1, Cols: 7, Data: []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1e-30, 1e30, math.NaN(), math.NaN()}}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		y := b.empty(dtype.F32, 1, 7)
		ReLU(b.r, y, b.upload(in, dtype.F32))
		got := b.download(y)
		for i, want := range []float64{math.NaN(), math.Inf(1), 0, 0, float64(float32(1e30)), math.NaN(), math.NaN()} {
			if g := float64(got[i]); g != want && !(g != g && want != want) {
				t.Errorf("relu(%v) = %v, want %v", in.Data[i], g, want)
			}
		}
	})
}

func TestReLUShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x := b.empty(dtype.F32, 4, 6)
	refused(t, d, "another shape", func(r *vk.Recorder) { ReLU(r, x, x.RowRange(0, 3)) })
	refused(t, d, "16-bit x", func(r *vk.Recorder) { ReLU(r, x, Of(x.View, dtype.BF16, 4, 6)) })
}
