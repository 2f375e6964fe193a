package op

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// attentionBound is of attention.
var attentionBound = optest.Bound{Max: 2e-5, Why: "f32 dot products, exp2 (3 + 2|x| ulp in Vulkan), and sums over up to 32,768 keys that nearly cancel"}

// attentionCase is the shape's q, k and v, and what Attention should make of them.
func attentionCase(s AttentionShape) (q, k, v, want ref.Mat) {
	q, k, v = attentionOperands(s)
	return q, k, v, attentionWant(s, q, k, v)
}

func attentionOperands(s AttentionShape) (q, k, v ref.Mat) {
	q, k = random(s.Windows*s.QueryLen, s.Heads*s.HeadDim), random(s.Windows*max(s.KeyStride, s.KeyLen), s.KVHeads*s.HeadDim)
	return q, k, block(random(k.Rows, k.Cols+1), 0, k.Rows, 1, k.Cols+1)
}

func attentionWant(s AttentionShape, q, k, v ref.Mat) ref.Mat {
	stride := max(s.KeyStride, s.KeyLen)
	want := ref.NewMat(0, q.Cols)
	for w := range s.Windows {
		y := ref.Attention(window(q, w*s.QueryLen, s.QueryLen), window(k, w*stride, s.KeyLen), window(v, w*stride, s.KeyLen),
			s.Heads, s.KVHeads, s.HeadDim, s.SlidingWindow, ref.LogitOptions(s.LogitOptions))
		want.Data = append(want.Data, y.Data...)
	}
	want.Rows = q.Rows
	return want
}

// attend records Attention with the scratch that it needs.
func attend(b *bench, o, q, k, v Tensor, s AttentionShape) {
	Attention(b.r, o, q, k, v, s, withScratch(b, s))
}

func withScratch(b *bench, s AttentionShape) (extra AttentionExtra) {
	if n := AttentionScratch(b.d, s); n > 0 {
		extra.Scratch = b.empty(dtype.F32, 1, n)
	}
	return extra
}

// attentionScratch is a tensor for each shape, absent where the device needs none.
func attentionScratch(b *optest.Bench, shapes ...AttentionShape) (all []optest.Tensor) {
	for _, s := range shapes {
		var x optest.Tensor
		if n := AttentionScratch(b.D, s); n > 0 {
			x = b.Empty(dtype.F32, 1, n)
		}
		all = append(all, x)
	}
	return all
}

// attentionOf is a case, and as many of the first window's last queries alone.
func attentionOf(s AttentionShape, alone ...int) optest.Case {
	q, k, v := attentionOperands(s)
	stride := max(s.KeyStride, s.KeyLen)
	in, out, shapes := f32s(q, k, v), likes(q), []AttentionShape{s}
	var parts []optest.Part
	for i, n := range alone {
		last := s
		last.Windows, last.QueryLen = 1, n
		queries := window(q, s.QueryLen-n, n)
		in, out, shapes = append(in, f32s(queries)...), append(out, likes(queries)...), append(shapes, last)
		parts = append(parts, optest.Part{Whole: 0, Part: 1 + i, Row: s.QueryLen - n})
	}
	return optest.Case{
		Name: fmt.Sprint(s), In: in, Out: out, InPlace: [][]int{{0}}, Alone: parts,
		Extra: func(b *optest.Bench) []optest.Tensor { return attentionScratch(b, shapes...) },
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			o, x := tensors(out), tensors(in)
			o, scratch := o[:len(shapes)], o[len(shapes):]
			Attention(r, o[0], x[0], x[1], x[2], s, AttentionExtra{Scratch: scratch[0]})
			for i, last := range shapes[1:] {
				Attention(r, o[1+i], x[3+i], x[1].RowRange(0, stride), x[2].RowRange(0, stride), last, AttentionExtra{Scratch: scratch[1+i]})
			}
		},
		Want: func(in []ref.Mat) []ref.Mat {
			whole := attentionWant(s, in[0], in[1], in[2])
			all := one(whole)
			for _, n := range alone {
				all = append(all, window(whole, s.QueryLen-n, n))
			}
			return all
		},
		Flops: 4 * float64(s.Windows*s.Heads*s.HeadDim*s.QueryLen) * (float64(s.KeyLen) - float64(s.QueryLen-1)/2), // without a sliding window
	}
}

// A query gives the same bits among others, be they as few as in generation or as many as in a prompt, and in a window of several.
func attentionTable() optest.Table {
	return optest.Table{Op: "attention", Bound: attentionBound, Tiers: true, SplitTiers: []vk.Tier{vk.Baseline, vk.CoopMatrix}, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			AttentionShape
			alone []int // queries
		}{
			{AttentionShape{1, 1, 1, 0, 1, 1, 2, 0, false, LogitOptions{}, false}, nil},
			{AttentionShape{3, 5, 5, 0, 4, 2, 16, 0, false, LogitOptions{}, false}, nil},
			{AttentionShape{2, 130, 130, 0, 2, 1, 16, 0, false, LogitOptions{}, false}, nil},
			{AttentionShape{2, 67, 67, 70, 6, 2, 20, 0, false, LogitOptions{}, false}, nil},
			{AttentionShape{1, 33, 100, 0, 3, 3, 20, 40, false, LogitOptions{}, false}, nil},
			{AttentionShape{2, 7, 150, 151, 5, 1, 22, 1, false, LogitOptions{}, false}, nil},
			{AttentionShape{1, 150, 150, 0, 2, 2, 22, 65, false, LogitOptions{}, false}, nil},
			{AttentionShape{1, 40, 65, 0, 2, 1, 64, 0, false, LogitOptions{}, false}, nil},
			{AttentionShape{1, 1, 300, 512, 8, 2, 64, 100, false, LogitOptions{}, false}, nil},
			{AttentionShape{1, 3, 80, 81, 7, 1, 80, 0, false, LogitOptions{}, false}, nil},
			{AttentionShape{1, 2, 4096, 0, 1, 1, 256, 0, false, LogitOptions{}, false}, nil},
			{AttentionShape{1, 2, 4096, 0, 1, 1, 6, 4000, false, LogitOptions{}, false}, nil},
			{AttentionShape{2, 1, 129, 130, 4, 2, 6, 0, false, LogitOptions{}, false}, nil},
			{AttentionShape{1, 4, 128, 0, 9, 1, 24, 0, false, LogitOptions{}, false}, nil},
			{AttentionShape{2, 1, 90, 0, 4, 2, 24, 0, true, LogitOptions{}, false}, nil},
			{AttentionShape{1, 4, 128, 0, 9, 1, 22, 30, true, LogitOptions{}, false}, nil},
			{AttentionShape{1, 4, 500, 0, 24, 2, 64, 130, false, LogitOptions{}, false}, nil},
			{AttentionShape{3, 2, 700, 0, 10, 1, 256, 0, false, LogitOptions{}, false}, nil},
			{AttentionShape{1, 1, 32768, 0, 1, 1, 128, 0, false, LogitOptions{}, false}, nil},
			{AttentionShape{2, 80, 90, 100, 6, 3, 20, 0, false, LogitOptions{}, false}, []int{5, 6, 9, 33}},
			{AttentionShape{1, 150, 150, 0, 4, 1, 16, 37, false, LogitOptions{}, false}, []int{5, 16, 17}},
			{AttentionShape{1, 10, 70, 0, 2, 1, 16, 0, false, LogitOptions{}, false}, []int{7}},
			{AttentionShape{1, 40, 70, 0, 4, 2, 20, 0, true, LogitOptions{}, false}, []int{1, 2, 4, 7}},
			{AttentionShape{1, 4, 400, 0, 6, 2, 64, 0, false, LogitOptions{}, false}, []int{1, 2, 3}},
			{AttentionShape{1, 4, 258, 0, 14, 2, 64, 129, false, LogitOptions{}, false}, []int{1, 2, 3}}, // the first sees a run of keys more
			{AttentionShape{2, 70, 70, 0, 6, 2, 20, 33, false, LogitOptions{0.3, 1.5}, false}, []int{9}},
			{AttentionShape{1, 33, 100, 0, 3, 3, 22, 0, false, LogitOptions{0, 0.7}, false}, nil},
			{AttentionShape{1, 2, 300, 0, 8, 2, 64, 0, false, LogitOptions{0.2, 2}, false}, []int{1}},
			{AttentionShape{1, 1, 90, 0, 4, 2, 6, 0, false, LogitOptions{2, 0}, false}, nil},
			{AttentionShape{7, 50, 50, 51, 61, 61, 20, 0, false, LogitOptions{}, false}, nil}, // beyond 1 MiB: windows
			{AttentionShape{2, 45, 45, 0, 366, 3, 20, 0, false, LogitOptions{}, false}, nil},  // queries of a window
		} {
			one := attentionOf(c.AttentionShape, c.alone...)
			one.Split = c.Heads > 60
			cases = append(cases, one)
		}
		return cases
	}, Benchmarks: func() []optest.Case { // a prompt, a corpus' windows, a longer prompt, and one query after a short and a long context
		return []optest.Case{
			attentionOf(AttentionShape{1, 256, 256, 0, 8, 4, 64, 0, false, LogitOptions{}, false}),
			attentionOf(AttentionShape{64, 128, 128, 0, 8, 4, 16, 0, false, LogitOptions{}, false}),
			attentionOf(AttentionShape{1, 512, 512, 0, 8, 2, 128, 0, false, LogitOptions{}, false}),
			attentionOf(AttentionShape{1, 1, 256, 0, 8, 4, 64, 0, false, LogitOptions{}, false}),
			attentionOf(AttentionShape{1, 1, 4096, 0, 8, 4, 64, 0, false, LogitOptions{}, false}),
		}
	}}
}

func TestAttention(t *testing.T) { attentionTable().Test(t) }

func BenchmarkAttention(b *testing.B) { attentionTable().Benchmark(b) }

// The activity of blocks is that of their rows, whatever the number of windows.
func TestAttentionActivity(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, s := range []AttentionShape{
			{1, 1, 1, 0, 1, 1, 2, 0, false, LogitOptions{}, false},
			{3, 5, 5, 0, 4, 2, 16, 0, false, LogitOptions{}, false},
			{2, 67, 67, 0, 6, 2, 20, 0, false, LogitOptions{}, false},
			{1, 33, 100, 0, 3, 3, 20, 40, false, LogitOptions{}, false},
			{3, 70, 70, 0, 5, 1, 22, 0, false, LogitOptions{}, false},
			{2, 40, 40, 0, 14, 2, 80, 0, false, LogitOptions{}, false},
			{1, 40, 40, 0, 2, 1, 256, 0, false, LogitOptions{}, false},
		} {
			t.Run(fmt.Sprint(s), func(t *testing.T) {
				b := newBench(t, d)
				q, k, v, o := attentionCase(s)
				dq, dk, dv := b.upload(q, dtype.F32), b.upload(k, dtype.F32), b.upload(v, dtype.F32)
				blocks := AttentionBlocks(d, s)
				sums, y := b.empty(dtype.F32, s.Windows*blocks, q.Cols), b.empty(dtype.F32, q.Rows, q.Cols)
				Attention(b.r, y, dq, dk, dv, s, AttentionExtra{Activity: sums})
				got := b.download(sums)
				attentionBound.Near(t, b.download(y), o.Data, dtype.F32)
				total := make([]float32, s.Windows*q.Cols)
				for i, x := range got {
					total[i/q.Cols/blocks*q.Cols+i%q.Cols] += x
				}
				var want []float64
				for w := range s.Windows {
					want = append(want, ref.AbsSum(window(o, w*s.QueryLen, s.QueryLen))...)
				}
				attentionBound.Near(t, total, want, dtype.F32)

				one := s
				one.Windows = 1
				last := (s.Windows - 1) * s.QueryLen
				keys := (s.Windows - 1) * s.KeyLen
				alone := b.empty(dtype.F32, blocks, q.Cols)
				Attention(b.r, b.empty(dtype.F32, s.QueryLen, q.Cols), b.upload(window(q, last, s.QueryLen), dtype.F32),
					b.upload(window(k, keys, s.KeyLen), dtype.F32), b.upload(window(v, keys, s.KeyLen), dtype.F32), one, AttentionExtra{Activity: alone})
				if !slices.Equal(b.download(alone), got[len(got)-blocks*q.Cols:]) {
					t.Error("the last window alone has another activity")
				}
			})
		}
	})
}

// longest is the largest number, from least on and below most, for which the same kernel is chosen as for the least.
func longest(least, most int, choose func(n int) (kernel string, err error)) int {
	first, _ := choose(least)
	return least - 1 + sort.Search(most-least, func(more int) bool {
		kernel, err := choose(least + more)
		return err != nil || kernel != first
	})
}

// Every loop goes all the way, up to the most keys that a kernel takes: lavapipe 22.3 would stop it without a word.
func TestAttentionLong(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		if !d.Info.Has(vk.LoopLimit) {
			t.Skip("the driver stops no loop")
		}
		for _, s := range []AttentionShape{
			{1, 8, 8, 0, 1, 1, 8, 0, false, LogitOptions{}, false}, {1, 8, 8, 0, 1, 1, 64, 0, false, LogitOptions{}, false}, {1, 8, 8, 0, 1, 1, 68, 0, false, LogitOptions{}, false},
			{1, 1, 8, 0, 1, 1, 8, 0, false, LogitOptions{}, false},
		} {
			kernel, err := s.way(d, false)
			if err != nil {
				t.Fatal(err)
			}
			most := min(1<<19, int(d.Limits().StorageRange-4096)/(4*s.HeadDim)) // that a binding holds, wherever it begins
			s.KeyLen = longest(s.KeyLen, most, func(keys int) (string, error) {
				s.KeyLen = keys
				way, err := s.way(d, false)
				return way.shader, err
			})
			b := newBench(t, d)
			q, k, v, want := attentionCase(s)
			y := b.empty(dtype.F32, q.Rows, q.Cols)
			attend(b, y, b.upload(q, dtype.F32), b.upload(k, dtype.F32), b.upload(v, dtype.F32), s)
			t.Log(kernel.shader, s.KeyLen)
			attentionBound.Near(t, b.download(y), want.Data, dtype.F32)
		}
	})
}

func TestAttentionLimit(t *testing.T) {
	for _, tier := range []vk.Tier{vk.Baseline, vk.CoopMatrix} {
		b := newBench(t, vktest.Open(t, vk.Options{MaxTier: &tier, StorageRange: 1 << 20}))
		x := b.empty(dtype.F32, 1100, 256)
		attend(b, x, x, x, x, AttentionShape{1, 1100, 1100, 0, 1, 1, 256, 0, false, LogitOptions{}, false})
		if !errors.Is(b.r.Err(), vk.ErrLimit) {
			t.Errorf("keys beyond a binding: %v, want ErrLimit", b.r.Err())
		}
	}
	vktest.Clean(t)
}

func TestAttentionShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	q, k := b.empty(dtype.F32, 6, 32), b.empty(dtype.F32, 10, 16)
	good := AttentionShape{2, 3, 4, 5, 4, 2, 8, 0, false, LogitOptions{}, false}
	for what, change := range map[string]func(*AttentionShape){
		"no windows":              func(s *AttentionShape) { s.Windows = 0 },
		"more queries than keys":  func(s *AttentionShape) { s.Windows, s.QueryLen, s.KeyStride = 1, 6, 10 },
		"more keys than the rows": func(s *AttentionShape) { s.KeyLen = 6 },
		"another stride":          func(s *AttentionShape) { s.KeyStride = 4 },
		"heads without a group":   func(s *AttentionShape) { s.KVHeads = 3 },
		"an odd head":             func(s *AttentionShape) { s.HeadDim = 7 },
		"a negative window":       func(s *AttentionShape) { s.SlidingWindow = -1 },
		"no shape":                func(s *AttentionShape) { *s = AttentionShape{} },
	} {
		s := good
		change(&s)
		refused(t, d, what, func(r *vk.Recorder) { Attention(r, q, q, k, k, s, AttentionExtra{}) })
	}
	refused(t, d, "16-bit keys", func(r *vk.Recorder) { Attention(r, q, q, Of(k.View, dtype.F16, 10, 16), k, good, AttentionExtra{}) })
	refused(t, d, "a head of 258", func(r *vk.Recorder) {
		x := b.empty(dtype.F32, 1, 258)
		Attention(r, x, x, x, x, AttentionShape{1, 1, 1, 0, 1, 1, 258, 0, false, LogitOptions{}, false}, AttentionExtra{})
	})
	refused(t, d, "activity of other blocks", func(r *vk.Recorder) {
		s := good
		s.Batch = true
		Attention(r, q, q, k, k, s, AttentionExtra{Activity: b.empty(dtype.F32, s.Windows*AttentionBlocks(d, s)+1, q.Cols)})
	})
	refused(t, d, "activity of generation", func(r *vk.Recorder) {
		Attention(r, q, q, k, k, good, AttentionExtra{Activity: b.empty(dtype.F32, good.Windows, q.Cols)})
	})
	baseline := vk.Baseline
	gpu := vktest.Open(t, vk.Options{MaxTier: &baseline})
	long := AttentionShape{1, 1, 2*attentionChunk + 1, 0, 4, 2, 8, 0, false, LogitOptions{}, false}
	few := newBench(t, gpu)
	one, keys := few.empty(dtype.F32, 1, 32), few.empty(dtype.F32, long.KeyLen, 16)
	refused(t, gpu, "no scratch", func(r *vk.Recorder) { Attention(r, one, one, keys, keys, long, AttentionExtra{}) })
	refused(t, gpu, "too little scratch", func(r *vk.Recorder) {
		Attention(r, one, one, keys, keys, long, AttentionExtra{Scratch: few.empty(dtype.F32, 1, AttentionScratch(gpu, long)-1)})
	})
	Attention(b.r, q, q, k, k, good, AttentionExtra{})
	if b.r.Err() != nil {
		t.Error(b.r.Err())
	}
}

// window is the n rows of m from first on.
func window(m ref.Mat, first, n int) ref.Mat { return block(m, first, first+n, 0, m.Cols) }
