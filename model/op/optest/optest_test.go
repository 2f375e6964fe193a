package optest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// A word written beside a tensor is seen, and which side it is on.
func TestSentinels(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		const n = 16
		for _, c := range []struct {
			at   []int64
			want []string
		}{{nil, nil}, {[]int64{guard, guard + n - 4}, nil}, {[]int64{guard - 4}, []string{"before"}}, {[]int64{guard + n}, []string{"behind"}}, {[]int64{0, 2*guard + n - 4}, []string{"before", "behind"}}} {
			b := New(t, d)
			buf, err := d.NewBuffer("sentinels", 2*guard+n, vk.OnDevice)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Free(buf)
			if err := d.Upload(t.Context(), buf.All(), slices.Repeat([]byte{sentinel}, 2*guard+n)); err != nil {
				t.Fatal(err)
			}
			for _, at := range c.at {
				b.R.Fill(buf.View(at, 4), 0)
			}
			if got := b.written(buf, n); !slices.Equal(got, c.want) {
				t.Errorf("words at %d: written on %v, want %v", c.at, got, c.want)
			}
		}
	})
}

// listener counts the errors of a check.
type listener struct {
	testing.TB
	errors int
}

func (l *listener) Errorf(string, ...any) { l.errors++ }

func (l *listener) Fatalf(string, ...any) { l.errors++ }

// A gradient that is wrong is told from one that is right: of Σ dy·x², 2·x·dy.
func TestGradient(t *testing.T) {
	x, dy := Random(3, 7), Random(7, 3)
	dy.Rows, dy.Cols = 3, 7
	c := Case{Gradient: &Gradient{DY: 0, By: []int{1, -1}, Forward: func(in []ref.Mat) ref.Mat {
		y := ref.NewMat(in[1].Rows, in[1].Cols)
		for i, v := range in[1].Data {
			y.Data[i] = v * v
		}
		return y
	}}}
	for factor, wrong := range map[float32]bool{2: false, 2.0001: true} {
		got := make([]float32, len(x.Data))
		for i, v := range x.Data {
			got[i] = factor * float32(v) * float32(dy.Data[i])
		}
		l := &listener{TB: t}
		Table{Bound: Bound{Max: 1e-6}}.gradient(l, c, []ref.Mat{dy, x}, [][]float32{got, nil})
		if (l.errors > 0) != wrong {
			t.Errorf("factor %v: %d errors", factor, l.errors)
		}
	}
}

// A bound allows the rounding of a dtype only where results are stored in it.
func TestBound(t *testing.T) {
	want, off := []float64{1, -1}, []float32{1 + 0x1p-9, -1}
	for _, c := range []struct {
		Bound
		of    dtype.DType
		wrong bool
	}{{Bound{Max: 1e-6}, dtype.BF16, true}, {Bound{Max: 1e-6, Rounded: true}, dtype.BF16, false}, {Bound{Max: 1e-6, Rounded: true}, dtype.F32, true}, {Bound{Max: 0.1}, dtype.F32, false}} {
		l := &listener{TB: t}
		if c.Near(l, off, want, c.of); (l.errors > 0) != c.wrong {
			t.Error(fmt.Sprintf("%+v", c), l.errors)
		}
	}
}

// A difference of two numbers may be off by what these are rounded by: the base is added to both sides.
func TestBase(t *testing.T) {
	for base, wrong := range map[float64]bool{0: true, 1: false} {
		c := Case{Out: []Output{{Rows: 1, Cols: 1, Base: []float64{base}}}, Gradient: &Gradient{DY: -1, By: []int{0}, Forward: func(in []ref.Mat) ref.Mat { return in[0] }}}
		for what, compare := range map[string]func(l *listener){
			"the reference": func(l *listener) {
				Table{Bound: Bound{Max: 1e-6}}.near(l, c, [][]float32{{1e-6}}, []ref.Mat{{Rows: 1, Cols: 1, Data: []float64{2e-6}}})
			},
			"differences": func(l *listener) {
				x := ref.Mat{Rows: 1, Cols: 1, Data: []float64{1}}
				c.Gradient.Forward = func(in []ref.Mat) ref.Mat { return ref.Scale(in[0], 2e-6) }
				Table{Bound: Bound{Max: 1e-6}}.gradient(l, c, []ref.Mat{x}, [][]float32{{1e-6}})
			},
		} {
			l := &listener{TB: t}
			if compare(l); (l.errors > 0) != wrong {
				t.Errorf("base %v, %s: %d errors", base, what, l.errors)
			}
		}
	}
}

// Where the reference says NaN, what was there must stay; all else is compared, exactly where that is asked.
func TestNear(t *testing.T) {
	nan := math.NaN()
	kept, start := math.Float32frombits(0xffffffff), ref.Mat{Rows: 1, Cols: 3, Data: []float64{7, 8, 9}}
	for _, c := range []struct {
		what string
		Output
		got   []float32
		want  []float64
		wrong bool
	}{
		{"all that is wanted", Output{}, []float32{1, 2, kept}, []float64{1, 2, nan}, false},
		{"an element is written", Output{}, []float32{1, 2, 3}, []float64{1, 2, nan}, true},
		{"a NaN is written", Output{}, []float32{1, 2, float32(nan)}, []float64{1, 2, nan}, true},
		{"an element is not written", Output{}, []float32{1, kept, kept}, []float64{1, 2, nan}, true},
		{"what was there stays", Output{Start: start}, []float32{1, 8, 3}, []float64{1, nan, 3}, false},
		{"what was there is gone", Output{Start: start}, []float32{1, kept, 3}, []float64{1, nan, 3}, true},
		{"almost equal", Output{}, []float32{1.0001, 2, 3}, []float64{1, 2, 3}, false},
		{"almost equal is not exact", Output{Exact: true}, []float32{1.0001, 2, 3}, []float64{1, 2, 3}, true},
		{"unequal beside the infinite", Output{Exact: true}, []float32{2, 2, float32(math.Inf(1))}, []float64{1, 2, math.Inf(1)}, true},
		{"integers", Output{Words: true, Start: start}, []float32{-1, 8, 1 << 20}, []float64{-1, nan, 1 << 20}, false},
	} {
		l := &listener{TB: t}
		o := c.Output
		o.Rows, o.Cols = 1, 3
		Table{Bound: Bound{Max: 1e-3}}.near(l, Case{Out: []Output{o}}, [][]float32{c.got}, []ref.Mat{{Rows: 1, Cols: 3, Data: c.want}})
		if (l.errors > 0) != c.wrong {
			t.Errorf("%s: %d errors", c.what, l.errors)
		}
	}
}

// Integers are stored as such, and what fills the last word of 16-bit values is NaN.
func TestEncode(t *testing.T) {
	m := ref.Mat{Rows: 1, Cols: 3, Data: []float64{-1, 0, 70000}}
	raw := encode(m, dtype.F32, true)
	if want := []byte{255, 255, 255, 255, 0, 0, 0, 0, 0x70, 0x11, 1, 0}; !slices.Equal(raw, want) || !slices.Equal(decode(raw, dtype.F32, true, 3), []float32{-1, 0, 70000}) {
		t.Errorf("words are %v, want %v", raw, want)
	}
	m.Data[2] = 1
	if raw, want := encode(m, dtype.BF16, false), []byte{0x80, 0xbf, 0, 0, 0x80, 0x3f, 255, 255}; !slices.Equal(raw, want) {
		t.Errorf("bf16 values are %x, want %x", raw, want)
	}
}
