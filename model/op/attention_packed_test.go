package op

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// forest is segments of so many tokens, each after one of those before it or, for −1, at position 0. Their rows are in another order.
func forest(parents, lengths []int) (segments []Segment, rows int) {
	segments = make([]Segment, len(lengths))
	for i := len(lengths) - 1; i >= 0; i-- {
		segments[i] = Segment{Row: rows, Rows: lengths[i]}
		rows += lengths[i]
	}
	for i := range segments {
		s := &segments[i]
		if parents[i] >= 0 {
			s.Path = slices.Clone(segments[parents[i]].Path)
		}
		for row := range s.Rows {
			s.Path = append(s.Path, uint32(s.Row+row))
		}
	}
	return segments, rows
}

// pick is rows of m by their numbers.
func pick(m ref.Mat, rows []uint32) ref.Mat {
	y := ref.NewMat(len(rows), m.Cols)
	for i, row := range rows {
		copy(y.Data[i*m.Cols:(i+1)*m.Cols], m.Data[int(row)*m.Cols:(int(row)+1)*m.Cols])
	}
	return y
}

// packedCase is a forest's case, with its first and its last segment once more in windows of their own.
func packedCase(s PackedShape, parents, lengths []int) optest.Case {
	segments, rows := forest(parents, lengths)
	q, k, v := random(rows, s.Heads*s.HeadDim), random(rows, s.KVHeads*s.HeadDim), random(rows, s.KVHeads*s.HeadDim)
	in, out := f32s(q, k, v), likes(q)
	var parts []optest.Part
	var shapes []AttentionShape
	for i, g := range []Segment{segments[0], segments[len(segments)-1]} {
		queries := window(q, g.Row, g.Rows)
		in, out = append(in, f32s(queries, pick(k, g.Path), pick(v, g.Path))...), append(out, likes(queries)...)
		parts, shapes = append(parts, optest.Part{Whole: 0, Part: 1 + i, Row: g.Row}), append(shapes, s.of(g.Rows, len(g.Path)))
	}
	return optest.Case{
		Name: fmt.Sprint(s, len(parents)), In: in, Out: out, InPlace: [][]int{{0}}, Alone: parts,
		Extra: func(b *optest.Bench) []optest.Tensor {
			p, err := NewPacking(b.D, segments, s)
			if err != nil {
				b.T.Fatal(err)
			}
			return append(attentionScratch(b, shapes...), optest.Tensor((&bench{b, b.T, b.D, b.R}).words(p.Words)))
		},
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			o, x := tensors(out), tensors(in)
			p, err := NewPacking(r.Device(), segments, s)
			if err != nil {
				r.Fail(err)
				return
			}
			AttentionPacked(r, o[0], x[0], x[1], x[2], o[len(o)-1], p, s)
			for i, alone := range shapes {
				Attention(r, o[1+i], x[3+3*i], x[4+3*i], x[5+3*i], alone, AttentionExtra{Scratch: o[3+i]})
			}
		},
		Want: func(in []ref.Mat) []ref.Mat {
			want := ref.NewMat(rows, q.Cols)
			for _, g := range segments {
				y := ref.Attention(window(in[0], g.Row, g.Rows), pick(in[1], g.Path), pick(in[2], g.Path), s.Heads, s.KVHeads, s.HeadDim, s.SlidingWindow, ref.LogitOptions(s.LogitOptions))
				copy(want.Data[g.Row*q.Cols:], y.Data)
			}
			all := one(want)
			for _, g := range []Segment{segments[0], segments[len(segments)-1]} {
				all = append(all, window(want, g.Row, g.Rows))
			}
			return all
		},
	}
}

func attentionPackedTable() optest.Table {
	return optest.Table{Op: "attention_packed", Bound: attentionBound, Tiers: true, Cases: func() []optest.Case {
		cases := []optest.Case{
			packedCase(PackedShape{1, 1, 2, 0, LogitOptions{}}, []int{-1}, []int{1}),
			packedCase(PackedShape{4, 2, 16, 0, LogitOptions{}}, []int{-1, 0, 0, 0, 0}, []int{130, 5, 1, 33, 70}),
			packedCase(PackedShape{6, 2, 20, 40, LogitOptions{}}, []int{-1, 0, 1, 1, -1}, []int{37, 20, 9, 65, 3}),
			packedCase(PackedShape{3, 3, 22, 7, LogitOptions{}}, []int{-1, 0, 0}, []int{5, 64, 65}),
			packedCase(PackedShape{9, 1, 24, 0, LogitOptions{}}, []int{-1, 0, 0, 2}, []int{300, 2, 40, 1}),
			packedCase(PackedShape{2, 1, 256, 0, LogitOptions{}}, []int{-1, 0}, []int{90, 13}),
			packedCase(PackedShape{6, 2, 20, 40, LogitOptions{0.3, 1.5}}, []int{-1, 0, 1, 1, -1}, []int{37, 20, 9, 65, 3}),
			packedCase(PackedShape{3, 3, 22, 0, LogitOptions{0, 0.7}}, []int{-1, 0, 0}, []int{5, 64, 65}),
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for _, s := range []PackedShape{{4, 2, 64, 0, LogitOptions{}}, {8, 2, 8, 30, LogitOptions{}}, {2, 2, 6, 0, LogitOptions{}}} {
			var parents, lengths []int
			for i := range 30 {
				parents, lengths = append(parents, rng.IntN(i+1)-1), append(lengths, 1+rng.IntN(40))
			}
			one := packedCase(s, parents, lengths)
			one.Measured = s.HeadDim == 64
			cases = append(cases, one)
		}
		return cases
	}}
}

func TestAttentionPacked(t *testing.T) { attentionPackedTable().Test(t) }

func BenchmarkAttentionPacked(b *testing.B) { attentionPackedTable().Benchmark(b) }

func TestAttentionPackedShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{StorageRange: 1 << 20})
	shape := PackedShape{4, 2, 8, 0, LogitOptions{}}
	segments, rows := forest([]int{-1, 0}, []int{6, 3})
	p, err := NewPacking(d, segments, shape)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, d)
	q, k, table := b.empty(dtype.F32, rows, 32), b.empty(dtype.F32, rows, 16), b.words(p.Words)
	refused(t, d, "another table", func(r *vk.Recorder) { AttentionPacked(r, q, q, k, k, b.words(p.Words[1:]), p, shape) })
	refused(t, d, "fewer keys", func(r *vk.Recorder) { AttentionPacked(r, q, q, k.RowRange(0, 8), k.RowRange(0, 8), table, p, shape) })
	refused(t, d, "other heads", func(r *vk.Recorder) {
		AttentionPacked(r, q, q, k, k, table, p, PackedShape{4, 4, 8, 0, LogitOptions{}})
	})
	for what, list := range map[string][]Segment{
		"no segments":           nil,
		"a segment of nothing":  {{Row: 0, Rows: 0, Path: []uint32{0}}},
		"a path that is short":  {{Row: 0, Rows: 2, Path: []uint32{1}}},
		"a path to another row": {{Row: 0, Rows: 2, Path: []uint32{0, 2}}},
	} {
		if _, err := NewPacking(d, list, shape); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	wide := PackedShape{64, 64, 128, 0, LogitOptions{}}
	segments, rows = forest([]int{-1}, []int{40})
	if p, err = NewPacking(d, segments, wide); err != nil {
		t.Fatal(err)
	}
	x := b.empty(dtype.F32, rows, 64*128)
	AttentionPacked(b.r, x, x, x, x, b.words(p.Words), p, wide)
	if !errors.Is(b.r.Err(), vk.ErrLimit) {
		t.Errorf("rows beyond a binding: %v, want ErrLimit", b.r.Err())
	}
}
