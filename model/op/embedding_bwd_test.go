package op

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// embeddingBackwardBound is of embedding_bwd.
var embeddingBackwardBound = optest.Bound{Max: 2e-5, Why: "f32 additions one by one: 2^-25·sqrt(n/2) of the sum's deviation as a random walk, 4e-6 at n = 35,000, and 5 times that"}

func (b *bench) rowsOf(tokens []uint32) EmbeddingRows {
	ids, starts, order := SortTokens(tokens)
	return EmbeddingRows{b.words(ids), b.words(starts), b.words(order)}
}

func TestSortTokens(t *testing.T) {
	ids, starts, order := SortTokens([]uint32{7, 2, 7, 0, 2, 7})
	if !slices.Equal(ids, []uint32{0, 2, 7}) || !slices.Equal(starts, []uint32{0, 1, 3, 6}) || !slices.Equal(order, []uint32{3, 1, 4, 0, 2, 5}) {
		t.Errorf("ids %v, starts %v, order %v", ids, starts, order)
	}
}

// sequential adds rows of dy to rows of table in f32, one by one: the bits that are promised.
func sequential(table, dy ref.Mat, rows []int) []float32 {
	sums := flat(table)
	for t, row := range rows {
		for i, v := range dy.Row(t) {
			sums[row*table.Cols+i] += float32(v)
		}
	}
	return sums
}

// The sums are those of the reference, and to the bit those of f32 in the order of the tokens.
func TestEmbeddingBackward(t *testing.T) {
	run := func(t *testing.T, d *vk.Device, split bool) {
		for _, c := range []struct{ vocab, hidden, tokens, distinct int }{
			{1, 1, 1, 1}, {40, 127, 9, 40}, {1999, 120, 500, 31}, {5, 36, 40000, 3}, {3, 3, 70000, 2}, {3001, 401, 1503, 3001}, {3000, 404, 1503, 700},
			{70000, 4, 90000, 70000},
		} {
			if c.vocab < 3000 && split {
				continue
			}
			t.Run(fmt.Sprint(c), func(t *testing.T) {
				b := newBench(t, d)
				tokens, ints := picks(c.tokens, c.distinct)
				table, dy := random(c.vocab, c.hidden), random(c.tokens, c.hidden)
				sums, td := b.upload(table, dtype.F32), b.upload(dy, dtype.F32)
				EmbeddingBackward(b.r, sums, td, b.rowsOf(tokens))
				got, want := b.download(sums), sequential(table, dy, ints)
				if !slices.Equal(got, want) {
					t.Error("not the bits of additions in order")
				}
				ref.EmbeddingBackward(table, dy, ints)
				embeddingBackwardBound.Near(t, got, table.Data, dtype.F32)
			})
		}
	}
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) { run(t, d, false) })
	t.Run("split", func(t *testing.T) {
		run(t, vktest.Open(t, vk.Options{StorageRange: 1 << 20}), true)
		vktest.Clean(t)
	})
}

func TestEmbeddingBackwardShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	table, dy, rows := b.empty(dtype.F32, 5, 3), b.empty(dtype.F32, 2, 3), b.rowsOf([]uint32{4, 1})
	refused(t, d, "other columns", func(r *vk.Recorder) { EmbeddingBackward(r, table.Reshape(3, 5), dy, rows) })
	refused(t, d, "other tokens", func(r *vk.Recorder) { EmbeddingBackward(r, table, dy.RowRange(0, 1), rows) })
	refused(t, d, "a table of 16 bits", func(r *vk.Recorder) { EmbeddingBackward(r, Of(table.View, dtype.F16, 5, 3), dy, rows) })
	rows.Starts = rows.IDs
	refused(t, d, "no end", func(r *vk.Recorder) { EmbeddingBackward(r, table, dy, rows) })
}

func BenchmarkEmbeddingBackward(b *testing.B) {
	d := vktest.Open(b, vk.Options{})
	for _, c := range []struct{ vocab, hidden, tokens, distinct int }{{4096, 128, 2048, 700}, {4096, 128, 2048, 4}} {
		b.Run(fmt.Sprintf("%d of %d", c.tokens, c.distinct), func(b *testing.B) {
			f := newBench(b, d)
			tokens, _ := picks(c.tokens, c.distinct)
			rows := f.rowsOf(tokens)
			table, dy := f.upload(random(c.vocab, c.hidden), dtype.F32), f.upload(random(c.tokens, c.hidden), dtype.F32)
			f.measure(20, func() { EmbeddingBackward(f.r, table, dy, rows) })
		})
	}
}
