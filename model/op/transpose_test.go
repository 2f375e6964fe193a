package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Bits are copied, so equality is exact.
func transposeTable() optest.Table {
	of := func(rows, cols int, dt dtype.DType) optest.Case {
		return optest.Case{
			Name: optest.Shape(rows, cols, dt), In: []optest.Input{{Mat: random(rows, cols), DType: dt}}, Out: exact(dt, cols, rows),
			Record: func(r *vk.Recorder, out, in []optest.Tensor) { Transpose(r, Tensor(out[0]), Tensor(in[0])) },
			Want:   func(in []ref.Mat) []ref.Mat { return one(ref.Transpose(in[0])) },
			Split:  rows > 700,
		}
	}
	return optest.Table{Op: "transpose", Tiers: true, SplitTiers: []vk.Tier{vk.Baseline, vk.Subgroup}, Cases: func() (cases []optest.Case) {
		for _, dt := range dtype.All {
			for _, c := range [][2]int{
				{1, 1}, {1, 9}, {9, 1}, {2, 3}, {3, 2}, {7, 127}, {128, 33}, {33, 128}, {8, 8}, {24, 40}, {72, 136}, {4, 20}, {65, 65}, {304, 16},
				{1000, 1016}, {703, 1001}, {1002, 703},
			} {
				cases = append(cases, of(c[0], c[1], dt))
			}
		}
		return cases
	}, Benchmarks: func() (cases []optest.Case) {
		for _, dt := range []dtype.DType{dtype.F32, dtype.BF16} {
			for _, c := range [][2]int{{2048, 384}, {384, 2048}, {2048, 128}, {2048, 2048}, {2045, 381}} {
				cases = append(cases, of(c[0], c[1], dt))
			}
		}
		return cases
	}}
}

func TestTranspose(t *testing.T) { transposeTable().Test(t) }

func BenchmarkTranspose(b *testing.B) { transposeTable().Benchmark(b) }

// An odd tensor's last word is shared with what follows.
func TestTransposeKeeps(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		x, y := b.upload(random(3, 5), dtype.BF16), b.upload(ref.Mat{Rows: 1, Cols: 16, Data: make([]float64, 16)}, dtype.BF16)
		y.View = b.raw([]byte{31: 0x40}, dtype.BF16, 1, 16).View
		Transpose(b.r, Of(y.View, dtype.BF16, 5, 3), x)
		if got := b.download(y)[15]; got != 2 {
			t.Errorf("the element behind the last is %v, want 2", got)
		}
	})
}

func TestTransposeShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, y := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 6, 4)
	refused(t, d, "the same shape", func(r *vk.Recorder) { Transpose(r, y.Reshape(4, 6), x) })
	refused(t, d, "another dtype", func(r *vk.Recorder) { Transpose(r, Of(y.View, dtype.F16, 6, 4), x) })
	refused(t, d, "nothing", func(r *vk.Recorder) { Transpose(r, Tensor{}, Tensor{}) })
}
