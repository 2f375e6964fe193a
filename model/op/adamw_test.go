package op

import (
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// adamwBound is of adamw.
var adamwBound = optest.Bound{Max: 2e-6, Why: "moments of few steps; sqrt and a division (2.5 ulp each)", Rounded: true}

// trained are the tensors of AdamW for weights.
type trained struct{ w, master, m, v Tensor }

func (b *bench) trained(weights ref.Mat, d dtype.DType) trained {
	s := trained{b.upload(weights, d), b.empty(dtype.F32, weights.Rows, weights.Cols), b.empty(dtype.F32, weights.Rows, weights.Cols), b.empty(dtype.F32, weights.Rows, weights.Cols)}
	FromDType(b.r, s.master, s.w)
	Zero(b.r, s.m)
	Zero(b.r, s.v)
	return s
}

func (b *bench) state(s trained) [][]float32 {
	return [][]float32{b.download(s.w), b.download(s.master), b.download(s.m), b.download(s.v)}
}

func TestAdamW(t *testing.T) {
	eachTierAndSplit(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			rows, cols int
			dtype      dtype.DType
			clip       float32
		}{
			{1, 1, dtype.BF16, 0}, {1, 2, dtype.F16, 0}, {1, 3, dtype.F32, 0}, {5, 77, dtype.F16, 1}, {7, 257, dtype.BF16, 0}, {64, 384, dtype.BF16, 10},
			{513, 1031, dtype.F32, 0}, {513, 1031, dtype.BF16, 1}, {6, 64, dtype.F16, 1},
		} {
			b := newBench(t, d)
			w := random(c.rows, c.cols)
			s := b.trained(w, c.dtype)
			p := AdamWParams{LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1}
			want := ref.AdamW{LR: float64(p.LR), Beta1: float64(p.Beta1), Beta2: float64(p.Beta2), Eps: float64(p.Eps), Decay: float64(p.Decay)}
			steps := 3
			for p.Step = 1; p.Step <= steps; p.Step++ {
				g := random(c.rows, c.cols+p.Step)
				g = block(g, 0, c.rows, p.Step, g.Cols)
				norm, control := b.gradNorm(1, c.clip, g)
				AdamW(b.r, s.w, s.master, b.upload(g, dtype.F32), s.m, s.v, control, p)
				for i := range g.Data {
					g.Data[i] *= float64(norm[2])
				}
				want.Update(w.Data, g.Data)
			}
			got := b.state(s)
			adamwBound.Near(t, got[0], w.Data, c.dtype)
			adamwBound.Near(t, got[1], w.Data, dtype.F32)
			adamwBound.Near(t, got[2], want.M, dtype.F32)
			adamwBound.Near(t, got[3], want.V, dtype.F32)
			rounded := make([]byte, len(got[1])*c.dtype.Size())
			c.dtype.Encode(rounded, got[1])
			nearest := make([]float32, len(got[1]))
			c.dtype.Decode(nearest, rounded)
			same(t, c.dtype.String()+": weights and masters rounded", got[0], nearest)
		}
	})
}

// A step that must be skipped, and one whose gradients are all 0, change nothing; a gradient of 0 moves no weight that others do.
func TestAdamWNothing(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, dt := range []dtype.DType{dtype.F32, dtype.F16, dtype.BF16} {
			b := newBench(t, d)
			s := b.trained(random(5, 77), dt)
			before := b.state(s)
			p := AdamWParams{LR: 0.1, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Step: 1}
			spoiled := random(5, 77)
			spoiled.Data[300] = nan
			for _, c := range []struct {
				loss float64
				g    ref.Mat
			}{{nan, random(5, 77)}, {inf, random(5, 77)}, {1, spoiled}, {0, ref.NewMat(5, 77)}} {
				_, control := b.gradNorm(c.loss, 1, c.g)
				AdamW(b.r, s.w, s.master, b.upload(c.g, dtype.F32), s.m, s.v, control, p)
				for i, x := range b.state(s) {
					same(t, "a skipped step", x, before[i])
				}
			}
			p.Decay = 0
			g := ref.NewMat(5, 77)
			g.Data[7], g.Data[384] = 2, -3
			_, control := b.gradNorm(1, 1, g)
			AdamW(b.r, s.w, s.master, b.upload(g, dtype.F32), s.m, s.v, control, p)
			after := b.download(s.master)
			for i, v := range before[1] {
				if (after[i] == v) != (g.Data[i] == 0) {
					t.Errorf("%v: gradient %v makes %v of weight %v", dt, g.Data[i], after[i], v)
				}
			}
		}
	})
}

// An odd tensor's last word is shared with what follows.
func TestAdamWNeighbour(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, dt := range []dtype.DType{dtype.F16, dtype.BF16} {
			b := newBench(t, d)
			all := b.upload(random(1, 6), dt)
			want := b.download(all)
			w := Of(all.View, dt, 1, 5)
			g := random(1, 5)
			s := b.trained(g, dtype.F32)
			_, control := b.gradNorm(1, 0, g)
			AdamW(b.r, w, s.master, b.upload(g, dtype.F32), s.m, s.v, control, AdamWParams{LR: 1, Eps: 1, Step: 1})
			got := b.download(all)
			if got[5] != want[5] || slices.Equal(got[:5], want[:5]) {
				t.Errorf("%v: %v became %v, of which the last is not the tensor's", dt, want, got)
			}
		}
	})
}

func TestAdamWRefuses(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, control := b.empty(dtype.F32, 4, 6), b.control(1)
	w := Of(x.View, dtype.BF16, 4, 6)
	p := AdamWParams{LR: 1, Eps: 1e-8, Step: 1}
	refused(t, d, "other rows", func(r *vk.Recorder) { AdamW(r, w, x.RowRange(0, 3), x, x, x, control, p) })
	refused(t, d, "16-bit master", func(r *vk.Recorder) { AdamW(r, w, w, x, x, x, control, p) })
	refused(t, d, "small control", func(r *vk.Recorder) { AdamW(r, w, x, x, x, x, x.RowRange(0, 1), p) })
	refused(t, d, "absent weights", func(r *vk.Recorder) { AdamW(r, Tensor{}, x, x, x, x, control, p) })
	refused(t, d, "copy of other rows", func(r *vk.Recorder) { FromDType(r, x, w.RowRange(0, 3)) })
	refused(t, d, "16-bit copy", func(r *vk.Recorder) { FromDType(r, w, w) })
	refused(t, d, "16-bit zeros", func(r *vk.Recorder) { Zero(r, w) })
	refused(t, d, "no zeros", func(r *vk.Recorder) { Zero(r, Tensor{}) })
	for _, p := range []AdamWParams{{Step: 1}, {Eps: 1}, {Eps: 1, Step: 1, Beta1: 1}, {Eps: 1, Step: 1, Beta2: -1}} {
		r := newBench(t, d).r
		if AdamW(r, w, x, x, x, x, control, p); r.Err() == nil {
			t.Errorf("%+v: no error", p)
		}
	}
}

func BenchmarkAdamW(b *testing.B) {
	w := newBench(b, vktest.Open(b, vk.Options{}))
	g := random(200, 1000)
	s := w.trained(g, dtype.BF16)
	_, control := w.gradNorm(1, 1, g)
	dg := w.upload(g, dtype.F32)
	w.measure(8, func() {
		AdamW(w.r, s.w, s.master, dg, s.m, s.v, control, AdamWParams{LR: 1e-4, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Step: 1})
	})
}
