package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// bench is optest.Bench with tensors of this package.
type bench struct {
	*optest.Bench
	t testing.TB
	d *vk.Device
	r *vk.Recorder
}

func newBench(t testing.TB, d *vk.Device) *bench {
	b := optest.New(t, d)
	return &bench{b, t, d, b.R}
}

func (b *bench) empty(d dtype.DType, rows, cols int) Tensor { return Tensor(b.Empty(d, rows, cols)) }

func (b *bench) raw(raw []byte, d dtype.DType, rows, cols int) Tensor {
	return Tensor(b.Raw(raw, d, rows, cols))
}

func (b *bench) upload(m ref.Mat, d dtype.DType) Tensor { return Tensor(b.Upload(m, d)) }

func (b *bench) download(x Tensor) []float32 { return b.Download(optest.Tensor(x)) }

func random(rows, cols int) ref.Mat { return optest.Random(rows, cols) }

// words uploads 32-bit integers.
func (b *bench) words(v []uint32) Tensor {
	raw := make([]byte, 4*len(v))
	for i, w := range v {
		raw[4*i], raw[4*i+1], raw[4*i+2], raw[4*i+3] = byte(w), byte(w>>8), byte(w>>16), byte(w>>24)
	}
	return b.raw(raw, dtype.F32, 1, len(v))
}

// A dispatch that is not what the kernel's SPIR-V takes becomes the recorder's error and never reaches the device.
func TestDispatchDisagrees(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x := b.empty(dtype.F32, 1, 4).View
	one, groups := spec("WORKGROUP", rowGroup), [3]int{1, 1, 1}
	right := []vk.Arg{vk.In(x), vk.Out(x)}
	for what, f := range map[string]func(r *vk.Recorder){
		"right":                        func(r *vk.Recorder) { dispatch(r, "relu", one, groups, push("count", 4), 1, right...) },
		"no such kernel":               func(r *vk.Recorder) { dispatch(r, "rely", one, groups, push("count", 4), 1, right...) },
		"another constant":             func(r *vk.Recorder) { dispatch(r, "relu", one, groups, push("rows", 4), 1, right...) },
		"a float":                      func(r *vk.Recorder) { dispatch(r, "relu", one, groups, push("count", float32(4)), 1, right...) },
		"a constant more":              func(r *vk.Recorder) { dispatch(r, "relu", one, groups, push("count", 4, "cols", 4), 1, right...) },
		"a specialization constant":    func(r *vk.Recorder) { dispatch(r, "relu", one.with("OF", 1), groups, push("count", 4), 1, right...) },
		"another name":                 func(r *vk.Recorder) { dispatch(r, "relu", spec("OF", rowGroup), groups, push("count", 4), 1, right...) },
		"a buffer less":                func(r *vk.Recorder) { dispatch(r, "relu", one, groups, push("count", 4), 1, right[:1]...) },
		"an output taken for an input": func(r *vk.Recorder) { dispatch(r, "relu", one, groups, push("count", 4), 1, vk.In(x), vk.In(x)) },
		"texels":                       func(r *vk.Recorder) { dispatchTexels(r, "relu", 1, one, groups, push("count", 4), 1, right...) },
		"an address without a place": func(r *vk.Recorder) {
			dispatch(r, "relu", one, groups, push("count", 4), 1, append(right, vk.InAt(x, 0))...)
		},
	} {
		r := newBench(t, d).r
		if f(r); (r.Err() == nil) != (what == "right") || what != "right" && r.Dispatched > 0 {
			t.Errorf("%s: %v, %d dispatched", what, r.Err(), r.Dispatched)
		}
	}
}

// f32s are operands of f32.
func f32s(mats ...ref.Mat) (in []optest.Input) {
	for _, m := range mats {
		in = append(in, optest.Input{Mat: m, DType: dtype.F32})
	}
	return in
}

// likes are results of f32 with the shapes of matrices.
func likes(mats ...ref.Mat) (out []optest.Output) {
	for _, m := range mats {
		out = append(out, optest.Output{DType: dtype.F32, Rows: m.Rows, Cols: m.Cols})
	}
	return out
}
