package op

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// attentionBackwardBound is of attention_bwd.
var attentionBackwardBound = optest.Bound{Max: 2e-5, Why: "attention, with probabilities made again from their logits and the sum, and differences of sums"}

// backwardCase is the operands of a shape's AttentionBackward, q, k, v, o and do, and the gradients dq, dk and dv.
func backwardCase(s AttentionShape) (operands [5]ref.Mat, want [3]ref.Mat) {
	q, k, v, o := attentionCase(s)
	do := block(random(q.Rows, q.Cols+2), 0, q.Rows, 2, q.Cols+2)
	for i, m := range []ref.Mat{q, k, v} {
		want[i] = ref.NewMat(0, m.Cols)
	}
	for w := range s.Windows {
		of := func(m ref.Mat) ref.Mat { return window(m, w*s.QueryLen, s.QueryLen) }
		dq, dk, dv := ref.AttentionBackward(of(q), of(k), of(v), of(do), s.Heads, s.KVHeads, s.HeadDim, s.SlidingWindow, ref.LogitOptions(s.LogitOptions))
		for i, m := range []ref.Mat{dq, dk, dv} {
			want[i].Data = append(want[i].Data, m.Data...)
			want[i].Rows += m.Rows
		}
	}
	return [5]ref.Mat{q, k, v, o, do}, want
}

// attendBackward records AttentionBackward of operands as of backwardCase and returns the gradients.
func attendBackward(b *bench, m [5]ref.Mat, s AttentionShape, overO bool) (gradients [3]Tensor) {
	var x [5]Tensor
	for i := range x {
		x[i] = b.upload(m[i], dtype.F32)
	}
	for i := range gradients {
		gradients[i] = b.empty(dtype.F32, m[i].Rows, m[i].Cols)
	}
	if overO {
		gradients[0] = x[3]
	}
	scratch := b.empty(dtype.F32, 1, AttentionBackwardScratch(b.d, s))
	AttentionBackward(b.r, gradients[0], gradients[1], gradients[2], x[0], x[1], x[2], x[3], x[4], s, scratch)
	return gradients
}

// attentionBackwardCase has q, k, v, o and do for inputs, dq, dk and dv for results.
func attentionBackwardCase(s AttentionShape) optest.Case {
	q, k, v, o := attentionCase(s)
	do := block(random(q.Rows, q.Cols+2), 0, q.Rows, 2, q.Cols+2)
	windows := func(f func(of func(m ref.Mat) ref.Mat)) {
		for w := range s.Windows {
			f(func(m ref.Mat) ref.Mat { return window(m, w*s.QueryLen, s.QueryLen) })
		}
	}
	one := optest.Case{
		Name: fmt.Sprint(s), In: f32s(q, k, v, o, do), Out: likes(q, k, v), InPlace: [][]int{{3, -1, -1}}, Extra: func(b *optest.Bench) []optest.Tensor {
			return []optest.Tensor{b.Empty(dtype.F32, 1, AttentionBackwardScratch(b.D, s))}
		},
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			x, y := tensors(in), tensors(out)
			AttentionBackward(r, y[0], y[1], y[2], x[0], x[1], x[2], x[3], x[4], s, y[3])
		},
		Want: func([]ref.Mat) []ref.Mat {
			_, want := backwardCase(s)
			return want[:]
		},
		Flops: 5 * float64(s.QueryLen*s.QueryLen*s.Heads*s.HeadDim*s.Windows),
	}
	if len(q.Data)*s.QueryLen < 1<<18 && s.QueryLen > 1 && s.SlidingWindow != 1 {
		one.Gradient = &optest.Gradient{DY: -1, By: []int{0, 1, 2}, Forward: func(in []ref.Mat) ref.Mat {
			sum := 0.0
			windows(func(of func(m ref.Mat) ref.Mat) {
				sum += dot(of(in[4]), ref.Attention(of(in[0]), of(in[1]), of(in[2]), s.Heads, s.KVHeads, s.HeadDim, s.SlidingWindow, ref.LogitOptions(s.LogitOptions)))
			})
			return vector(sum)
		}}
	}
	if s.QueryLen == 1 || s.SlidingWindow == 1 { // every query sees one key: but for dv, the gradients are 0
		want := one.Want
		one.Check = func(t testing.TB, got [][]float32, in []ref.Mat) {
			zero(t, got[0])
			zero(t, got[1])
			attentionBackwardBound.Near(t, got[2], want(in)[2].Data, dtype.F32)
		}
	}
	return one
}

func attentionBackwardTable() optest.Table {
	return optest.Table{Op: "attention_bwd", Bound: attentionBackwardBound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, s := range []AttentionShape{
			{1, 1, 1, 0, 1, 1, 2, 0, false, LogitOptions{}, false},
			{2, 1, 1, 0, 4, 2, 8, 0, false, LogitOptions{}, false},
			{3, 5, 5, 5, 4, 2, 16, 0, false, LogitOptions{}, false},
			{2, 130, 130, 0, 2, 1, 16, 0, false, LogitOptions{}, false},
			{2, 67, 67, 0, 6, 2, 20, 0, false, LogitOptions{}, false},
			{3, 70, 70, 0, 5, 1, 22, 33, false, LogitOptions{}, false},
			{2, 41, 41, 0, 3, 3, 24, 1, false, LogitOptions{}, false},
			{1, 150, 150, 0, 2, 2, 6, 65, false, LogitOptions{}, false},
			{1, 90, 90, 0, 14, 2, 64, 0, false, LogitOptions{}, false},
			{1, 40, 40, 0, 7, 1, 80, 100, false, LogitOptions{}, false},
			{1, 75, 75, 0, 2, 1, 128, 40, false, LogitOptions{}, false},
			{1, 37, 37, 0, 2, 1, 256, 0, false, LogitOptions{}, false},
			{1, 37, 37, 0, 3, 1, 254, 0, false, LogitOptions{}, false},
			{1, 600, 600, 0, 1, 1, 8, 0, false, LogitOptions{}, false},
			{2, 67, 67, 0, 6, 2, 20, 33, false, LogitOptions{0.3, 1.5}, false},
			{1, 41, 41, 0, 3, 3, 22, 0, false, LogitOptions{0, 0.7}, false},
			{1, 40, 40, 0, 2, 1, 128, 0, false, LogitOptions{0.1, 2}, false},
		} {
			cases = append(cases, attentionBackwardCase(s))
		}
		return cases
	}, Benchmarks: func() []optest.Case { // a corpus' windows, and one long window
		return []optest.Case{attentionBackwardCase(AttentionShape{16, 128, 128, 0, 8, 4, 16, 0, false, LogitOptions{}, false}), attentionBackwardCase(AttentionShape{1, 2048, 2048, 0, 8, 2, 64, 0, false, LogitOptions{}, false})}
	}}
}

func TestAttentionBackward(t *testing.T) { attentionBackwardTable().Test(t) }

func BenchmarkAttentionBackward(b *testing.B) { attentionBackwardTable().Benchmark(b) }

// GPUs with few registers, or many subgroups to share them, have other tiles, and the same results.
func TestAttentionFewRegisters(t *testing.T) {
	for _, profile := range []string{"intel", "nvidia", "gcn"} {
		vktest.EachWith(t, vk.Options{Profile: profile}, func(t *testing.T, d *vk.Device) {
			shapes := []AttentionShape{{2, 40, 40, 40, 4, 2, 80, 0, false, LogitOptions{}, false}, {1, 35, 35, 35, 3, 3, 22, 17, false, LogitOptions{0.3, 1.5}, false}}
			if profile == "gcn" { // whose gradients of keys and values have more columns
				shapes = append(shapes, AttentionShape{1, 75, 75, 75, 3, 1, 254, 0, false, LogitOptions{}, false})
			}
			for _, s := range shapes {
				b := newBench(t, d)
				q, k, v, want := attentionCase(s)
				o := b.empty(dtype.F32, q.Rows, q.Cols)
				attend(b, o, b.upload(q, dtype.F32), b.upload(k, dtype.F32), b.upload(v, dtype.F32), s)
				attentionBound.Near(t, b.download(o), want.Data, dtype.F32)
				m, gradients := backwardCase(s)
				for i, x := range attendBackward(b, m, s, false) {
					attentionBackwardBound.Near(t, b.download(x), gradients[i].Data, dtype.F32)
				}
			}
		})
	}
}

// zero fails where the difference of two dot products that are the same is not: of 24 products, with partial sums
// near 5, their roundings leave a deviation of √48·5·2^-25 = 1e-6.
func zero(t testing.TB, got []float32) {
	t.Helper()
	for i, x := range got {
		if !(math.Abs(float64(x)) <= 4e-6) {
			t.Errorf("element %d is %v, want 0", i, x)
			return
		}
	}
}

// Every loop goes all the way, up to the most queries for a key that a kernel takes: lavapipe 22.3 would stop it without a word.
func TestAttentionBackwardLong(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		if !d.Info.Has(vk.LoopLimit) {
			t.Skip("the driver stops no loop")
		}
		for _, dim := range []int{68, 128} {
			s := AttentionShape{1, 32, 32, 0, 1, 1, dim, 0, false, LogitOptions{}, false}
			kernel, err := s.backwardWay(d, true)
			if err != nil {
				t.Fatal(err)
			}
			s.Heads = longest(1, 1<<13, func(heads int) (string, error) {
				s.Heads = heads
				way, err := s.backwardWay(d, true)
				return way.shader, err
			})
			b := newBench(t, d)
			m, gradients := backwardCase(s)
			t.Log(kernel.shader, s.Heads, s.QueryLen)
			for i, x := range attendBackward(b, m, s, false) {
				attentionBackwardBound.Near(t, b.download(x), gradients[i].Data, dtype.F32)
			}
		}
	})
}

// A window has the same gradients alone and among others, and where few windows fit a binding.
func TestAttentionBackwardPieces(t *testing.T) {
	for _, tier := range []vk.Tier{vk.Baseline, vk.CoopMatrix} {
		whole, split := vktest.Open(t, vk.Options{MaxTier: &tier}), vktest.Open(t, vk.Options{MaxTier: &tier, StorageRange: 1 << 20})
		for _, s := range []AttentionShape{
			{7, 51, 51, 0, 62, 31, 20, 0, false, LogitOptions{}, false},
			{3, 130, 130, 0, 4, 1, 36, 50, false, LogitOptions{}, false},
		} {
			m, _ := backwardCase(s)
			all := attendBackwardOn(t, whole, m, s)
			for i, x := range attendBackwardOn(t, split, m, s) {
				if !slices.Equal(x, all[i]) {
					t.Errorf("%v: bindings of 1 MiB change gradient %d", s, i)
				}
			}
			one := s
			one.Windows = 1
			last := m
			for i := range last {
				last[i] = window(m[i], (s.Windows-1)*s.QueryLen, s.QueryLen)
			}
			for i, x := range attendBackwardOn(t, whole, last, one) {
				if !slices.Equal(x, all[i][len(all[i])-len(x):]) {
					t.Errorf("%v: the last window alone has another gradient %d", s, i)
				}
			}
		}
		b := newBench(t, split)
		x := b.empty(dtype.F32, 1100, 256)
		s := AttentionShape{1, 1100, 1100, 0, 1, 1, 256, 0, false, LogitOptions{}, false}
		AttentionBackward(b.r, x, x, x, x, x, x, x, x, s, b.empty(dtype.F32, 1, AttentionBackwardScratch(b.d, s)))
		if !errors.Is(b.r.Err(), vk.ErrLimit) {
			t.Errorf("a window beyond a binding: %v, want ErrLimit", b.r.Err())
		}
	}
	vktest.Clean(t)
}

func attendBackwardOn(t *testing.T, d *vk.Device, m [5]ref.Mat, s AttentionShape) (gradients [3][]float32) {
	b := newBench(t, d)
	for i, x := range attendBackward(b, m, s, false) {
		gradients[i] = b.download(x)
	}
	return gradients
}

func TestAttentionBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	q, k := b.empty(dtype.F32, 6, 32), b.empty(dtype.F32, 6, 16)
	good := AttentionShape{2, 3, 3, 0, 4, 2, 8, 0, false, LogitOptions{}, false}
	scratch := b.empty(dtype.F32, 1, AttentionBackwardScratch(d, good))
	for what, change := range map[string]func(*AttentionShape){
		"fewer queries than keys": func(s *AttentionShape) { s.QueryLen = 2 },
		"a stride":                func(s *AttentionShape) { s.QueryLen, s.KeyLen, s.KeyStride = 2, 2, 3 },
		"other windows":           func(s *AttentionShape) { s.Windows = 1 },
		"heads without a group":   func(s *AttentionShape) { s.KVHeads = 3 },
		"no shape":                func(s *AttentionShape) { *s = AttentionShape{} },
	} {
		s := good
		change(&s)
		refused(t, d, what, func(r *vk.Recorder) { AttentionBackward(r, q, k, k, q, k, k, q, q, s, scratch) })
	}
	refused(t, d, "16-bit keys", func(r *vk.Recorder) {
		AttentionBackward(r, q, k, k, q, Of(k.View, dtype.F16, 6, 16), k, q, q, good, scratch)
	})
	refused(t, d, "dk of q", func(r *vk.Recorder) { AttentionBackward(r, q, q, k, q, k, k, q, q, good, scratch) })
	refused(t, d, "o of k", func(r *vk.Recorder) { AttentionBackward(r, q, k, k, q, k, k, k, q, good, scratch) })
	refused(t, d, "too little scratch", func(r *vk.Recorder) {
		AttentionBackward(r, q, k, k, q, k, k, q, q, good, Of(scratch.View, dtype.F32, 1, scratch.Cols-1))
	})
	baseline := vk.Baseline
	if !d.Info.Has(vk.LoopLimit) {
		return
	}
	few := newBench(t, vktest.Open(t, vk.Options{MaxTier: &baseline}))
	x := few.empty(dtype.F32, 32768, 256)
	long := AttentionShape{1, 32768, 32768, 0, 1, 1, 256, 0, false, LogitOptions{}, false}
	AttentionBackward(few.r, x, x, x, x, x, x, x, x, long, few.empty(dtype.F32, 1, AttentionBackwardScratch(few.d, long)))
	if !errors.Is(few.r.Err(), vk.ErrLimit) {
		t.Errorf("more iterations than the driver allows: %v, want ErrLimit", few.r.Err())
	}
}
