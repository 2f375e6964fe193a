package op

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
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

func TestAttentionPacked(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	chain := func(n, most int) (parents, lengths []int) {
		for i := range n {
			parents, lengths = append(parents, rng.IntN(i+1)-1), append(lengths, 1+rng.IntN(most))
		}
		return parents, lengths
	}
	type trial struct {
		PackedShape
		parents, lengths []int
	}
	trials := []trial{
		{PackedShape{1, 1, 2, 0}, []int{-1}, []int{1}},
		{PackedShape{4, 2, 16, 0}, []int{-1, 0, 0, 0, 0}, []int{130, 5, 1, 33, 70}},
		{PackedShape{6, 2, 20, 40}, []int{-1, 0, 1, 1, -1}, []int{37, 20, 9, 65, 3}},
		{PackedShape{3, 3, 22, 7}, []int{-1, 0, 0}, []int{5, 64, 65}},
		{PackedShape{9, 1, 24, 0}, []int{-1, 0, 0, 2}, []int{300, 2, 40, 1}},
		{PackedShape{2, 1, 256, 0}, []int{-1, 0}, []int{90, 13}},
	}
	for _, s := range []PackedShape{{4, 2, 64, 0}, {8, 2, 8, 30}, {2, 2, 6, 0}} {
		parents, lengths := chain(30, 40)
		trials = append(trials, trial{s, parents, lengths})
	}
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range trials {
			t.Run(fmt.Sprint(c.PackedShape, len(c.parents)), func(t *testing.T) {
				segments, rows := forest(c.parents, c.lengths)
				b := newBench(t, d)
				q, k, v := random(rows, c.Heads*c.HeadDim), random(rows, c.KVHeads*c.HeadDim), random(rows, c.KVHeads*c.HeadDim)
				want := ref.NewMat(rows, q.Cols)
				for _, g := range segments {
					y := ref.Attention(window(q, g.Row, g.Rows), pick(k, g.Path), pick(v, g.Path), c.Heads, c.KVHeads, c.HeadDim, c.SlidingWindow)
					copy(want.Data[g.Row*q.Cols:], y.Data)
				}
				p, err := NewPacking(d, segments, c.PackedShape)
				if err != nil {
					t.Fatal(err)
				}
				dq, dk, dv, table, o := b.upload(q, dtype.F32), b.upload(k, dtype.F32), b.upload(v, dtype.F32), b.words(p.Words), b.empty(dtype.F32, rows, q.Cols)
				AttentionPacked(b.r, o, dq, dk, dv, table, p, c.PackedShape)
				AttentionPacked(b.r, dq, dq, dk, dv, table, p, c.PackedShape)
				got := b.download(o)
				attentionBound.Near(t, got, want.Data, dtype.F32)
				if !slices.Equal(b.download(dq), got) {
					t.Error("o = q gives other numbers")
				}
				for _, i := range []int{0, len(segments) - 1} { // in a window of its own
					g := segments[i]
					alone := b.empty(dtype.F32, g.Rows, q.Cols)
					s := c.of(g.Rows, len(g.Path))
					attend(b, alone, b.upload(window(q, g.Row, g.Rows), dtype.F32), b.upload(pick(k, g.Path), dtype.F32), b.upload(pick(v, g.Path), dtype.F32), s)
					if !slices.Equal(b.download(alone), got[g.Row*q.Cols:(g.Row+g.Rows)*q.Cols]) {
						t.Errorf("segment %d has other bits in a window of its own", i)
					}
				}
			})
		}
	})
}

func TestAttentionPackedShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{StorageRange: 1 << 20})
	shape := PackedShape{4, 2, 8, 0}
	segments, rows := forest([]int{-1, 0}, []int{6, 3})
	p, err := NewPacking(d, segments, shape)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, d)
	q, k, table := b.empty(dtype.F32, rows, 32), b.empty(dtype.F32, rows, 16), b.words(p.Words)
	refused(t, d, "another table", func(r *vk.Recorder) { AttentionPacked(r, q, q, k, k, b.words(p.Words[1:]), p, shape) })
	refused(t, d, "fewer keys", func(r *vk.Recorder) { AttentionPacked(r, q, q, k.RowRange(0, 8), k.RowRange(0, 8), table, p, shape) })
	refused(t, d, "other heads", func(r *vk.Recorder) { AttentionPacked(r, q, q, k, k, table, p, PackedShape{4, 4, 8, 0}) })
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
	wide := PackedShape{64, 64, 128, 0}
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
