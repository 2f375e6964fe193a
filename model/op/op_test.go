package op

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// bench is a device with a recorder, for the time of a test.
type bench struct {
	t testing.TB
	d *vk.Device
	r *vk.Recorder
}

func newBench(t testing.TB, d *vk.Device) *bench {
	r, err := d.NewRecorder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return &bench{t, d, r}
}

// empty is a tensor whose contents are all ones bits (NaN), so that an element that is never written is seen.
func (b *bench) empty(d dtype.DType, rows, cols int) Tensor {
	raw := make([]byte, (rows*cols*d.Size()+3)&^3)
	for i := range raw {
		raw[i] = 0xff
	}
	return b.raw(raw, d, rows, cols)
}

func (b *bench) raw(raw []byte, d dtype.DType, rows, cols int) Tensor {
	b.t.Helper()
	buf, err := b.d.NewBuffer(b.t.Name(), int64(len(raw)), vk.OnDevice)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { b.d.Free(buf) })
	if err := b.d.Upload(context.Background(), buf.All(), raw); err != nil {
		b.t.Fatal(err)
	}
	return Of(buf.All(), d, rows, cols)
}

// words uploads 32-bit integers.
func (b *bench) words(v []uint32) Tensor {
	raw := make([]byte, 4*len(v))
	for i, w := range v {
		raw[4*i], raw[4*i+1], raw[4*i+2], raw[4*i+3] = byte(w), byte(w>>8), byte(w>>16), byte(w>>24)
	}
	return b.raw(raw, dtype.F32, 1, len(v))
}

// upload rounds m to a dtype, and m itself with it, so that the reference sees what the device sees.
func (b *bench) upload(m ref.Mat, d dtype.DType) Tensor {
	f := make([]float32, len(m.Data))
	for i, v := range m.Data {
		f[i] = float32(v)
	}
	raw := make([]byte, (len(f)*d.Size()+3)&^3)
	d.Encode(raw, f)
	d.Decode(f, raw[:len(f)*d.Size()])
	for i, v := range f {
		m.Data[i] = float64(v)
	}
	return b.raw(raw, d, m.Rows, m.Cols)
}

// download waits for the recorder and reads a tensor back.
func (b *bench) download(x Tensor) []float32 {
	b.t.Helper()
	if err := b.r.Wait(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	raw := make([]byte, x.Size())
	if err := b.d.Download(context.Background(), raw, x.View); err != nil {
		b.t.Fatal(err)
	}
	out := make([]float32, x.Elements())
	x.DType.Decode(out, raw)
	return out
}

// random is a matrix of standard normal values, the same for the same shape.
func random(rows, cols int) ref.Mat {
	rng := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	m := ref.Mat{Rows: rows, Cols: cols, Data: make([]float64, rows*cols)}
	for i := range m.Data {
		m.Data[i] = float64(float32(rng.NormFloat64()))
	}
	return m
}

// measure runs a benchmark of record, n times in one submission, and reports the µs of one.
func (w *bench) measure(n int, record func()) {
	b := w.t.(*testing.B)
	run := func() {
		for range n {
			record()
		}
		if err := w.r.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	run() // the driver compiles
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/op")
}

// A dispatch that is not what the kernel's SPIR-V takes becomes the recorder's error and never reaches the device.
func TestDispatchDisagrees(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x := b.empty(dtype.F32, 1, 4).View
	spec, groups := []uint32{rowGroup}, [3]int{1, 1, 1}
	right := []vk.Arg{vk.In(x), vk.Out(x)}
	for what, f := range map[string]func(r *vk.Recorder){
		"right":                        func(r *vk.Recorder) { dispatch(r, "relu", spec, groups, push("count", 4), 1, right...) },
		"no such kernel":               func(r *vk.Recorder) { dispatch(r, "rely", spec, groups, push("count", 4), 1, right...) },
		"another constant":             func(r *vk.Recorder) { dispatch(r, "relu", spec, groups, push("rows", 4), 1, right...) },
		"a float":                      func(r *vk.Recorder) { dispatch(r, "relu", spec, groups, push("count", float32(4)), 1, right...) },
		"a constant more":              func(r *vk.Recorder) { dispatch(r, "relu", spec, groups, push("count", 4, "cols", 4), 1, right...) },
		"a specialization constant":    func(r *vk.Recorder) { dispatch(r, "relu", append(spec, 1), groups, push("count", 4), 1, right...) },
		"a buffer less":                func(r *vk.Recorder) { dispatch(r, "relu", spec, groups, push("count", 4), 1, right[:1]...) },
		"an output taken for an input": func(r *vk.Recorder) { dispatch(r, "relu", spec, groups, push("count", 4), 1, vk.In(x), vk.In(x)) },
		"texels":                       func(r *vk.Recorder) { dispatchTexels(r, "relu", 1, spec, groups, push("count", 4), 1, right...) },
		"an address without a place": func(r *vk.Recorder) {
			dispatch(r, "relu", spec, groups, push("count", 4), 1, append(right, vk.InAt(x, 0))...)
		},
	} {
		r := newBench(t, d).r
		if f(r); (r.Err() == nil) != (what == "right") || what != "right" && r.Dispatched > 0 {
			t.Errorf("%s: %v, %d dispatched", what, r.Err(), r.Dispatched)
		}
	}
}
