package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// want is the reference.
func (l Logits) want(x ref.Mat) ref.Mat { return ref.SoftCap(x, float64(l.scale()), float64(l.Cap)) }

// softcapBound is of softcap.
var softcapBound = optest.Bound{Max: 2e-6, Why: "exp of f32 (3 + 2|z| ulp in Vulkan), divisions (2.5 ulp) and the end of a series; by their sizes where large and small are together"}

// softcapSizes are shapes of logits, and what becomes of them.
var softcapSizes = []struct {
	rows, cols int
	Logits
}{{1, 1, Logits{0, 30}}, {1, 3, Logits{0.5, 0}}, {7, 127, Logits{0.25, 2}}, {3, 1408, Logits{3, 50}}, {1001, 703, Logits{0, 1.5}}, {2048, 384, Logits{2, 30}}}

func softcapTable() optest.Table {
	return optest.Table{Op: "softcap", Bound: softcapBound, Cases: func() (cases []optest.Case) {
		for _, c := range softcapSizes {
			x := random(c.rows, c.cols)
			for i := range x.Data {
				x.Data[i] *= 5
			}
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.rows, c.cols, c.Logits), In: f32s(x), Out: likes(x), InPlace: [][]int{{0}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) { SoftCap(r, Tensor(out[0]), Tensor(in[0]), c.Logits) },
				Want:   func(in []ref.Mat) []ref.Mat { return one(c.want(in[0])) },
				Large:  c.rows > 1000, Measured: c.rows == 2048,
			})
		}
		return cases
	}}
}

func TestSoftCap(t *testing.T) { softcapTable().Test(t) }

func BenchmarkSoftCap(b *testing.B) { softcapTable().Benchmark(b) }

// Logits far beyond the cap, and far below: no NaN, and nothing lost.
func TestSoftCapLarge(t *testing.T) {
	x := vector(1e30, -1e30, 1e4, -300, 29, 7.4, 7.6, -1, 1e-3, -1e-6, 1e-30)
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		dx := b.upload(x, dtype.F32)
		SoftCap(b.r, dx, dx, Logits{Cap: 30})
		got, want := b.download(dx), ref.SoftCap(x, 1, 30).Data
		for i := range got { // each to its own size
			softcapBound.Near(t, got[i:i+1], want[i:i+1], dtype.F32)
		}
	})
}

func TestSoftCapShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x := b.empty(dtype.F32, 4, 6)
	refused(t, d, "another shape", func(r *vk.Recorder) { SoftCap(r, x, x.RowRange(0, 3), Logits{Cap: 1}) })
	refused(t, d, "no y", func(r *vk.Recorder) { SoftCapBackward(r, x, x, Tensor{}, Logits{Cap: 1}) })
	refused(t, d, "another residual", func(r *vk.Recorder) { AddScaled(r, x, x, x.RowRange(0, 3), 2) })
}
