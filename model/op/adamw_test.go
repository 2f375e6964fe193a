package op

import (
	"fmt"
	"math"
	"slices"
	"sync"
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

// stored is m as a dtype stores it.
func stored(m ref.Mat, d dtype.DType) ref.Mat {
	raw, f := make([]byte, len(m.Data)*d.Size()), flat(m)
	d.Encode(raw, f)
	d.Decode(f, raw)
	y := ref.NewMat(m.Rows, m.Cols)
	for i, v := range f {
		y.Data[i] = float64(v)
	}
	return y
}

// adamwCase has the gradients of as many steps as there are for inputs; its results are w, master, m and v, after the control tensor's
// way through GradNorm.
func adamwCase(rows, cols int, dt dtype.DType, clip float32, steps int) optest.Case {
	weights := stored(random(rows, cols), dt)
	var grads []ref.Mat
	for step := 1; step <= steps; step++ {
		grads = append(grads, block(random(rows, cols+step), 0, rows, step, cols+step))
	}
	p := AdamWParams{LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1}
	want := sync.OnceValue(func() [3][]float64 {
		w := slices.Clone(weights.Data)
		a := ref.AdamW{LR: float64(p.LR), Beta1: float64(p.Beta1), Beta2: float64(p.Beta2), Eps: float64(p.Eps), Decay: float64(p.Decay)}
		for _, g := range grads {
			factor := 1.0
			if clip > 0 {
				factor = min(1, float64(clip)/ref.GradNorm(g))
			}
			a.Update(w, ref.Scale(g, factor).Data)
		}
		return [3][]float64{w, a.M, a.V}
	})
	like := weights
	return optest.Case{
		Name: optest.Shape(rows, cols, dt, clip), Of: dt, In: f32s(grads...),
		Out: append([]optest.Output{{DType: dt, Rows: rows, Cols: cols, Start: weights}}, likes(like, like, like)...),
		Extra: func(b *optest.Bench) []optest.Tensor {
			nan := math.NaN()
			return []optest.Tensor{b.Upload(vector(1, nan, nan, nan, nan, nan, nan, nan), dtype.F32), b.Empty(dtype.F32, 1, GradNormScratch(Tensor{Rows: rows, Cols: cols}))}
		},
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			x := tensors(out)
			w, master, m, v, control, partials := x[0], x[1], x[2], x[3], x[4], x[5]
			FromDType(r, master, w)
			Zero(r, m)
			Zero(r, v)
			for i, g := range tensors(in) {
				p := p
				p.Step = i + 1
				GradNorm(r, control, partials, clip, g)
				AdamW(r, w, master, g, m, v, control, p)
			}
		},
		Check: func(t testing.TB, got [][]float32, _ []ref.Mat) {
			adamwBound.Near(t, got[0], want()[0], dt)
			for i, of := range want() {
				adamwBound.Near(t, got[i+1], of, dtype.F32)
			}
			master := vector(make([]float64, len(got[1]))...)
			for i, v := range got[1] {
				master.Data[i] = float64(v)
			}
			same(t, dt.String()+": weights and masters rounded", got[0], flat(stored(master, dt)))
		},
		Large: rows*cols > 1<<18, Flops: 16 * float64(rows*cols*steps),
	}
}

func adamwTable() optest.Table {
	return optest.Table{Op: "adamw", Bound: adamwBound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			rows, cols int
			dtype      dtype.DType
			clip       float32
		}{
			{1, 1, dtype.BF16, 0}, {1, 2, dtype.F16, 0}, {1, 3, dtype.F32, 0}, {5, 77, dtype.F16, 1}, {7, 257, dtype.BF16, 0}, {64, 384, dtype.BF16, 10},
			{513, 1031, dtype.F32, 0}, {513, 1031, dtype.BF16, 1}, {6, 64, dtype.F16, 1},
		} {
			cases = append(cases, adamwCase(c.rows, c.cols, c.dtype, c.clip, 3))
		}
		return cases
	}, Benchmarks: func() []optest.Case { return []optest.Case{adamwCase(200, 1000, dtype.BF16, 1, 1)} }}
}

func TestAdamW(t *testing.T) { adamwTable().Test(t) }

// BenchmarkAdamW is of a step with its GradNorm, and of what makes a tensor's state.
func BenchmarkAdamW(b *testing.B) { adamwTable().Benchmark(b) }

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
	refused(t, d, "moments of two dtypes", func(r *vk.Recorder) { AdamW(r, w, x, x, x, w, control, p) })
	refused(t, d, "moments in F16", func(r *vk.Recorder) {
		AdamW(r, w, x, x, Of(x.View, dtype.F16, 4, 6), Of(x.View, dtype.F16, 4, 6), control, p)
	})
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

// Moments in BF16 are what F32 ones are, one step up or down, right on average and the same however a tensor is cut; the weights of the first
// step do not see the rounding, those of later ones hardly.
func TestAdamWHalfMoments(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct{ rows, cols int }{{1, 1}, {5, 77}, {64, 384}} {
			for _, dt := range []dtype.DType{dtype.F32, dtype.BF16} {
				b := newBench(t, d)
				weights, n := random(c.rows, c.cols), c.rows*c.cols
				whole, half, parts := b.trained(weights, dt), b.halfTrained(weights, dt), b.halfTrained(weights, dt)
				p := AdamWParams{LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1}
				for p.Step = 1; p.Step <= 3; p.Step++ {
					g := block(random(c.rows, c.cols+p.Step), 0, c.rows, p.Step, c.cols+p.Step)
					grad := b.upload(g, dtype.F32)
					_, control := b.gradNorm(1, 0, g)
					AdamW(b.r, whole.w, whole.master, grad, whole.m, whole.v, control, p)
					AdamW(b.r, half.w, half.master, grad, half.m, half.v, control, p)
					cut := p
					for begin, end := 0, c.rows/2; begin < c.rows; begin, end = end, c.rows { // rows of an even number of elements, or one row
						if c.cols%2 != 0 {
							end = c.rows
						}
						if begin < end {
							cut.First = begin * c.cols
							x := func(t Tensor) Tensor { return t.RowRange(begin, end) }
							AdamW(b.r, x(parts.w), x(parts.master), x(grad), x(parts.m), x(parts.v), control, cut)
						}
					}
					want, got, again := b.state(whole), b.state(half), b.state(parts)
					for i := range got {
						same(t, fmt.Sprint(c, dt, " in parts"), again[i], got[i])
					}
					most := 0.0
					if p.Step > 1 {
						most = 0.01 * 0x1p-6 // of a step of the learning rate: a moment and the root of another, off by 2^-7 and 2^-8
					}
					for i, v := range got[1] {
						if math.Abs(float64(v)-float64(want[1][i])) > most+2e-6*math.Abs(float64(want[1][i])) {
							t.Fatalf("%v %v: master %d is %v after step %d, %v with F32 moments", c, dt, i, v, p.Step, want[1][i])
						}
					}
					if p.Step > 1 {
						continue
					}
					for k := 2; k < 4; k++ {
						sum, ulps := 0.0, 0.0
						for i, v := range want[k] {
							ulp := math.Ldexp(1, math.Ilogb(math.Max(math.Abs(float64(v)), 1e-30))-7)
							off := float64(got[k][i]) - float64(v)
							if math.Abs(off) >= ulp*1.001 {
								t.Fatalf("%v %v: moment %d of %d is %v, %v in F32", c, dt, i, k, got[k][i], v)
							}
							sum, ulps = sum+off/ulp, ulps+1
						}
						if mean := sum / ulps; n > 1000 && math.Abs(mean) > 4*0.5/math.Sqrt(ulps) { // four times the largest deviation of such a mean
							t.Errorf("%v %v: moments are off by %v of a unit in the last place on average", c, dt, mean)
						}
					}
				}
			}
		}
	})
}

// halfTrained is trained with moments in BF16.
func (b *bench) halfTrained(weights ref.Mat, d dtype.DType) trained {
	s := b.trained(weights, d)
	zero := ref.NewMat(weights.Rows, weights.Cols)
	s.m, s.v = b.upload(zero, dtype.BF16), b.upload(zero, dtype.BF16)
	return s
}
