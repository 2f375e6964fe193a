// Package optest runs the case table of an operation on every device: against the plain reference, against finite differences of the
// reference, and as a benchmark. Every tensor that it makes lies between sentinels, so that a write beside it is seen.
package optest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Tensor has the fields of op.Tensor, and converts to one: the tests of package op cannot import what imports it.
type Tensor struct {
	vk.View
	DType      dtype.DType
	Rows, Cols int
}

// Bound is how far an operation's results may be off: see vktest.Within.
type Bound struct {
	Max     float64
	Why     string
	Rounded bool // results are stored in the weights' dtype, and its rounding is allowed
}

// Near compares with the reference. of is the dtype of the weights.
func (b Bound) Near(t testing.TB, got []float32, want []float64, of dtype.DType) {
	t.Helper()
	most := b.Max
	if b.Rounded {
		most = max(most, map[dtype.DType]float64{dtype.F16: 0x1p-11, dtype.BF16: 0x1p-8}[of])
	}
	vktest.Within(t, got, want, of.String(), most)
}

// Input is an operand, which is rounded to its dtype for device and reference alike.
type Input struct {
	ref.Mat
	DType dtype.DType
	Words bool // 32-bit integers instead of a dtype, −1 for all ones
}

// Output is a result. Where the reference says NaN, it must stay as it was.
type Output struct {
	DType      dtype.DType
	Rows, Cols int
	Bound      *Bound    // nil: that of the table
	Exact      bool      // equal to the reference
	Words      bool      // 32-bit integers, as of an Input
	Start      ref.Mat   // what it starts as; none: NaN
	Base       []float64 // added before both sides are compared, if any: the difference of two numbers is as precise as these
}

// Absent in Case.InPlace stands for an output that is not made: the zero Tensor.
const Absent = -2

// Case is an operation on operands of some shapes.
type Case struct {
	Name   string
	Of     dtype.DType // of the weights, where there are some
	In     []Input
	Out    []Output
	Record func(r *vk.Recorder, out, in []Tensor)
	Want   func(in []ref.Mat) []ref.Mat

	Extra func(b *Bench) []Tensor                           // scratch, and what depends on the device: Record finds it behind the outputs
	Check func(t testing.TB, got [][]float32, in []ref.Mat) // instead of Want, where results are not compared one by one
	Bound func() Bound                                      // instead of the table's, where it depends on the kernel that Record took last; nil: it does not

	InPlace  [][]int   // ways to let output i be input way[i], for −1 itself, or be Absent: these give the same bits
	Alone    []Part    // outputs that have the same bits as a part of others
	Gradient *Gradient // what the outputs are gradients of
	Large    bool      // more than 1 MiB: runs once more where a binding holds no more
	Split    bool      // runs only where a binding holds no more than 1 MiB, and gives the bits that it gives in one piece
	Measured bool      // a benchmark
	Flops    float64   // floating-point operations, for benchmarks
}

// Part says that output Part, made alone, is the rows from Row on of output Whole.
type Part struct{ Whole, Part, Row int }

// Gradient says what a backward operation differentiates: Σ dy·Forward, or Σ Forward where DY is −1.
type Gradient struct {
	Forward func(in []ref.Mat) ref.Mat
	DY      int   // which input is dy
	By      []int // output i is the gradient by input By[i], which the device may have no use for; −1: it is none

	found []difference // the same on every device and tier
}

// difference is an element of a gradient as differences of the reference give it.
type difference struct {
	output, element int
	want            float64
}

// Table is the cases of an operation.
type Table struct {
	Op         string
	Bound      Bound
	Tiers      bool      // run at every tier up to a device's own
	SplitTiers []vk.Tier // those of the cases that run on small bindings; none: the device's own
	Cases      func() []Case
	Benchmarks func() []Case // more that are measured, too large for a test
}

// Test runs the table on every device.
func (tb Table) Test(t *testing.T) {
	each := vktest.Each
	if tb.Tiers {
		each = vktest.EachTier
	}
	cases := tb.Cases()
	for i := range cases {
		cases[i].Want = once(cases[i].Want)
	}
	whole := slices.DeleteFunc(slices.Clone(cases), func(c Case) bool { return c.Split })
	if len(whole) > 0 {
		each(t, func(t *testing.T, d *vk.Device) { tb.run(t, d, nil, whole) })
	}
	large := slices.DeleteFunc(slices.Clone(cases), func(c Case) bool { return !c.Large && !c.Split })
	if len(large) > 0 {
		t.Run("split", func(t *testing.T) { tb.split(t, large) })
	}
}

// once keeps what a reference gives: it is the same on every device and tier.
func once(want func(in []ref.Mat) []ref.Mat) func(in []ref.Mat) []ref.Mat {
	var kept []ref.Mat
	return func(in []ref.Mat) []ref.Mat {
		if kept == nil {
			kept = want(in)
		}
		return kept
	}
}

// split runs cases where a binding holds no more than 1 MiB.
func (tb Table) split(t *testing.T, cases []Case) {
	tiers := []*vk.Tier{nil}
	if len(tb.SplitTiers) > 0 {
		tiers = nil
	}
	for i := range tb.SplitTiers {
		tiers = append(tiers, &tb.SplitTiers[i])
	}
	for _, tier := range tiers {
		whole := vktest.Open(t, vk.Options{MaxTier: tier})
		tb.run(t, vktest.Open(t, vk.Options{MaxTier: tier, StorageRange: 1 << 20}), whole, cases)
	}
	vktest.Clean(t)
}

// run tests cases on a device. Those for small bindings give the same bits on another that binds more.
func (tb Table) run(t *testing.T, d, whole *vk.Device, cases []Case) {
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			got := tb.test(t, d, c)
			if !c.Split {
				return
			}
			b := New(t, whole)
			_, in, out := b.tensors(c)
			c.Record(b.R, out, in)
			for i, o := range c.Out {
				if !same(b.read(out[i], o.Words), got[i]) {
					t.Errorf("bindings of 1 MiB change the bits of output %d", i)
				}
			}
		})
	}
}

// test runs a case on a device and gives its results.
func (tb Table) test(t *testing.T, d *vk.Device, c Case) [][]float32 {
	b := New(t, d)
	mats, in, out := b.tensors(c)
	c.Record(b.R, out, in)
	got := make([][]float32, len(c.Out))
	for i, o := range c.Out {
		got[i] = b.read(out[i], o.Words)
	}
	if c.Check != nil {
		c.Check(t, got, mats)
	} else {
		tb.near(t, c, got, c.Want(mats))
	}
	for i, x := range in {
		if !same(b.read(x, c.In[i].Words), single(mats[i].Data)) {
			t.Errorf("input %d was written", i)
		}
	}
	for _, p := range c.Alone {
		first := p.Row * c.Out[p.Whole].Cols
		if part := got[p.Part]; !same(part, got[p.Whole][first:first+len(part)]) {
			t.Errorf("output %d has other bits than the rows from %d on of output %d", p.Part, p.Row, p.Whole)
		}
	}
	if c.Gradient != nil {
		tb.gradient(t, c, mats, got)
	}
	for _, way := range c.InPlace {
		_, in, out := b.tensors(c)
		for i, from := range way {
			switch {
			case from >= 0:
				out[i] = in[from]
			case from == Absent:
				out[i] = Tensor{}
			}
		}
		c.Record(b.R, out, in)
		for i, o := range c.Out {
			if absent := i < len(way) && way[i] == Absent; !absent && !same(b.read(out[i], o.Words), got[i]) {
				t.Errorf("outputs over inputs %v: other bits of output %d", way, i)
			}
		}
	}
	return got
}

// near compares results with the reference, and those that it has not with what was there before.
func (tb Table) near(t testing.TB, c Case, got [][]float32, want []ref.Mat) {
	t.Helper()
	for i, o := range c.Out {
		bound := tb.Bound
		if c.Bound != nil {
			bound = c.Bound()
		}
		if o.Bound != nil {
			bound = *o.Bound
		}
		if len(got[i]) != len(want[i].Data) {
			t.Fatalf("output %d has %d elements, the reference %d", i, len(got[i]), len(want[i].Data))
		}
		start := decode(o.start(), o.DType, o.Words, len(got[i]))
		var written []float32
		var wanted []float64
		results, reference := o.based(got[i]), want[i].Data
		if o.Base != nil {
			reference = slices.Clone(reference)
			for j, v := range o.Base {
				reference[j] += v
			}
		}
		for j, w := range reference {
			switch g := results[j]; {
			case w == w && (o.Exact || o.Words):
				if float64(g) != w {
					t.Fatalf("element %d of output %d is %v, want %v", j, i, g, w)
				}
			case w == w:
				written, wanted = append(written, g), append(wanted, w)
			case math.Float32bits(g) != math.Float32bits(start[j]):
				t.Fatalf("element %d of output %d was written", j, i)
			}
		}
		bound.Near(t, written, wanted, c.Of)
	}
}

// tensors are the case's operands on the device, their values as stored there, and room for its results.
func (b *Bench) tensors(c Case) (mats []ref.Mat, in, out []Tensor) {
	for _, x := range c.In {
		m := ref.Mat{Rows: x.Rows, Cols: x.Cols, Data: slices.Clone(x.Data)}
		raw := encode(m, x.DType, x.Words)
		for i, v := range decode(raw, x.DType, x.Words, len(m.Data)) {
			m.Data[i] = float64(v)
		}
		in = append(in, b.Raw(raw, x.DType, m.Rows, m.Cols))
		mats = append(mats, m)
	}
	for _, o := range c.Out {
		out = append(out, b.Raw(o.start(), o.DType, o.Rows, o.Cols))
	}
	if c.Extra != nil {
		out = append(out, c.Extra(b)...)
	}
	return mats, in, out
}

// based gives results of the device with the output's base added.
func (o Output) based(got []float32) []float32 {
	if o.Base == nil {
		return got
	}
	sums := slices.Clone(got)
	for i, v := range o.Base {
		sums[i] += float32(v)
	}
	return sums
}

// start is the bytes that an output has before.
func (o Output) start() []byte {
	if o.Start.Rows == 0 {
		return empty(o.DType, o.Rows, o.Cols)
	}
	return encode(o.Start, o.DType, o.Words)
}

// encode gives a matrix as stored. What fills the last word is NaN, so that it is seen where it counts.
func encode(m ref.Mat, d dtype.DType, words bool) []byte {
	raw := empty(d, m.Rows, m.Cols)
	if !words {
		d.Encode(raw[:len(m.Data)*d.Size()], single(m.Data))
		return raw
	}
	for i, v := range m.Data {
		binary.LittleEndian.PutUint32(raw[4*i:], uint32(int64(v)))
	}
	return raw
}

// decode gives the n values that encode stored.
func decode(raw []byte, d dtype.DType, words bool, n int) []float32 {
	f := make([]float32, n)
	if !words {
		d.Decode(f, raw[:n*d.Size()])
		return f
	}
	for i := range f {
		f[i] = float32(int32(binary.LittleEndian.Uint32(raw[4*i:])))
	}
	return f
}

const (
	checkedElements = 12   // of a gradient: each takes two forward passes
	stepSize        = 1e-5 // of a difference, whose error is its square and 2^-53 over it
	differenceError = 2e-7 // of such a difference, beside the bound
)

// gradient compares elements of what the device gave with central differences of the reference's forward.
func (tb Table) gradient(t testing.TB, c Case, in []ref.Mat, got [][]float32) {
	t.Helper()
	sizes := make([]float64, len(got))
	for o, g := range got {
		squares := 0.0
		for _, v := range c.output(o).based(g) {
			squares += float64(v) * float64(v)
		}
		sizes[o] = math.Sqrt(squares / float64(len(g)))
	}
	for _, d := range c.Gradient.differences(in) {
		base := 0.0
		if b := c.output(d.output).Base; b != nil {
			base = b[d.element]
		}
		g := float64(got[d.output][d.element])
		if e := math.Abs(g - d.want); !(e <= (tb.Bound.Max+differenceError)*(math.Abs(base+d.want)+sizes[d.output])+1e-9) {
			t.Errorf("%s: element %d of output %d is %v, the difference of the reference %v", tb.Op, d.element, d.output, g, d.want)
		}
	}
}

// output is what the case says of output i.
func (c Case) output(i int) Output {
	if i < len(c.Out) {
		return c.Out[i]
	}
	return Output{}
}

// differences gives elements of the gradient by central differences. They are computed once.
func (g *Gradient) differences(in []ref.Mat) []difference {
	if g.found != nil {
		return g.found
	}
	loss := func() float64 {
		y, sum := g.Forward(in), 0.0
		for i, v := range y.Data {
			if g.DY >= 0 {
				v *= in[g.DY].Data[i]
			}
			sum += v
		}
		return sum
	}
	rng := rand.New(rand.NewPCG(1, uint64(len(in))))
	for o, by := range g.By {
		if by < 0 {
			continue
		}
		x := in[by].Data
		for range min(checkedElements, len(x)) {
			i := rng.IntN(len(x))
			at := x[i]
			x[i] = at + stepSize
			above := loss()
			x[i] = at - stepSize
			below := loss()
			x[i] = at
			g.found = append(g.found, difference{o, i, (above - below) / (2 * stepSize)})
		}
	}
	return g.found
}

const (
	measuredCalls = 20  // of an operation in a submission, so that what a submission costs does not count
	measuredFlops = 2e9 // of a submission, beyond which there are fewer calls: some 100 ms on a CPU
)

// Benchmark times the cases that are measured, on the best device.
func (tb Table) Benchmark(b *testing.B) {
	d := vktest.Open(b, vk.Options{})
	cases := slices.DeleteFunc(tb.Cases(), func(c Case) bool { return !c.Measured })
	if tb.Benchmarks != nil {
		cases = append(cases, tb.Benchmarks()...)
	}
	for _, c := range cases {
		b.Run(c.Name, func(b *testing.B) {
			w := New(b, d)
			_, in, out := w.tensors(c)
			bytes := int64(0)
			for _, x := range slices.Concat(in, out[:len(c.Out)]) {
				bytes += x.Size()
			}
			calls := measuredCalls
			if c.Flops > 0 {
				calls = max(1, min(calls, int(measuredFlops/c.Flops)))
			}
			w.Measure(calls, func() { c.Record(w.R, out, in) })
			perSecond := float64(calls) * float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(float64(bytes)*perSecond/1e9, "GB/s")
			if c.Flops > 0 {
				b.ReportMetric(c.Flops*perSecond/1e9, "GFLOP/s")
			}
		})
	}
}

// Random is a matrix of standard normal values, the same for the same shape.
func Random(rows, cols int) ref.Mat {
	rng := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	m := ref.NewMat(rows, cols)
	for i := range m.Data {
		m.Data[i] = float64(float32(rng.NormFloat64()))
	}
	return m
}

// Shape is a name for a case.
func Shape(rows, cols int, rest ...any) string {
	name := fmt.Sprintf("%dx%d", rows, cols)
	for _, r := range rest {
		name += fmt.Sprintf(",%v", r)
	}
	return name
}

func single(data []float64) []float32 {
	f := make([]float32, len(data))
	for i, v := range data {
		f[i] = float32(v)
	}
	return f
}

func same(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
}

// Bench is a device with a recorder, for the time of a test.
type Bench struct {
	T testing.TB
	D *vk.Device
	R *vk.Recorder
}

// New makes a bench.
func New(t testing.TB, d *vk.Device) *Bench {
	t.Helper()
	r, err := d.NewRecorder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Bench{t, d, r}
}

const (
	sentinel = 0xa5 // a byte beside a tensor
	guard    = 256  // of them on each side; as any device's offset alignment, and more than a workgroup of words past the end
)

// Raw is a tensor with these bytes, whole words, between sentinels that are looked at when the test ends.
func (b *Bench) Raw(raw []byte, d dtype.DType, rows, cols int) Tensor {
	b.T.Helper()
	beside := slices.Repeat([]byte{sentinel}, guard)
	all := slices.Concat(beside, raw, beside)
	buf, err := b.D.NewBuffer(b.T.Name(), int64(len(all)), vk.OnDevice)
	if err != nil {
		b.T.Fatal(err)
	}
	b.T.Cleanup(func() {
		defer b.D.Free(buf)
		if b.R.Err() != nil {
			return // what was recorded may not have run
		}
		for _, what := range b.written(buf, len(raw)) {
			b.T.Errorf("bytes %s a tensor of %v [%d %d] were written", what, d, rows, cols)
		}
	})
	if err := b.D.Upload(context.Background(), buf.All(), all); err != nil {
		b.T.Fatal(err)
	}
	return Tensor{buf.View(guard, int64(rows)*int64(cols)*int64(d.Size())), d, rows, cols}
}

// written says on which sides of a tensor of n bytes its buffer's sentinels are gone.
func (b *Bench) written(buf *vk.Buffer, n int) (sides []string) {
	for i, at := range []int64{0, guard + int64(n)} {
		got := make([]byte, guard)
		if err := errors.Join(b.wait(), b.D.Download(context.Background(), got, buf.View(at, guard))); err != nil {
			b.T.Error(err)
		} else if slices.ContainsFunc(got, func(v byte) bool { return v != sentinel }) {
			sides = append(sides, [...]string{"before", "behind"}[i])
		}
	}
	return sides
}

func (b *Bench) wait() error { return b.R.Wait(context.Background()) }

// Empty is a tensor whose contents are all ones bits (NaN), so that an element that is never written is seen.
func (b *Bench) Empty(d dtype.DType, rows, cols int) Tensor {
	b.T.Helper()
	return b.Raw(empty(d, rows, cols), d, rows, cols)
}

func empty(d dtype.DType, rows, cols int) []byte {
	return slices.Repeat([]byte{0xff}, (rows*cols*d.Size()+3)&^3)
}

// Upload rounds m to a dtype, and m itself with it, so that the reference sees what the device sees.
func (b *Bench) Upload(m ref.Mat, d dtype.DType) Tensor {
	b.T.Helper()
	raw := encode(m, d, false)
	for i, v := range decode(raw, d, false, len(m.Data)) {
		m.Data[i] = float64(v)
	}
	return b.Raw(raw, d, m.Rows, m.Cols)
}

// Download waits for the recorder and reads a tensor back.
func (b *Bench) Download(x Tensor) []float32 {
	b.T.Helper()
	return b.read(x, false)
}

// read is Download, of integers where x holds words.
func (b *Bench) read(x Tensor, words bool) []float32 {
	b.T.Helper()
	if err := b.wait(); err != nil {
		b.T.Fatal(err)
	}
	raw := make([]byte, x.Size())
	if err := b.D.Download(context.Background(), raw, x.View); err != nil {
		b.T.Fatal(err)
	}
	return decode(raw, x.DType, words, x.Rows*x.Cols)
}

// Measure runs a benchmark of record, n times in one submission, and reports the µs of one.
func (b *Bench) Measure(n int, record func()) {
	t := b.T.(*testing.B)
	run := func() {
		for range n {
			record()
		}
		if err := b.wait(); err != nil {
			t.Fatal(err)
		}
	}
	run() // the driver compiles
	for t.Loop() {
		run()
	}
	t.ReportMetric(float64(t.Elapsed().Microseconds())/float64(t.N*n), "µs/op")
}
