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
func sequential(table, dy ref.Mat, rows []int) ref.Mat {
	sums := ref.Mat{Rows: table.Rows, Cols: table.Cols, Data: slices.Clone(table.Data)}
	for t, row := range rows {
		for i, v := range dy.Row(t) {
			at := &sums.Row(row)[i]
			*at = float64(float32(*at) + float32(v))
		}
	}
	return sums
}

// embeddingBackwardShape is of a case, of embedding_bwd.
type embeddingBackwardShape struct{ vocab, hidden, tokens, distinct int }

var embeddingBackwardShapes = []embeddingBackwardShape{
	{1, 1, 1, 1}, {40, 127, 9, 40}, {1999, 120, 500, 31}, {5, 36, 40000, 3}, {3, 3, 70000, 2}, {3001, 401, 1503, 3001}, {3000, 404, 1503, 700},
	{70000, 4, 90000, 70000},
}

func (c embeddingBackwardShape) of() optest.Case {
	tokens, ints := picks(c.tokens, c.distinct)
	table, dy := random(c.vocab, c.hidden), random(c.tokens, c.hidden)
	ids, starts, order := SortTokens(tokens)
	one := optest.Case{
		Name: fmt.Sprint(c), In: append(f32s(dy), wordsOf(ids), wordsOf(starts), wordsOf(order)),
		Out: []optest.Output{{Rows: c.vocab, Cols: c.hidden, Start: table, Exact: true}},
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			EmbeddingBackward(r, Tensor(out[0]), Tensor(in[0]), EmbeddingRows{Tensor(in[1]), Tensor(in[2]), Tensor(in[3])})
		},
		Want:  func(in []ref.Mat) []ref.Mat { return one(sequential(table, in[0], ints)) },
		Large: c.vocab >= 3000, Flops: float64(len(dy.Data)),
	}
	if !one.Large && len(dy.Data) < 1<<18 {
		one.In = append(one.In, f32s(table)...)
		one.Gradient = &optest.Gradient{DY: -1, By: []int{4}, Forward: func(in []ref.Mat) ref.Mat {
			return vector(dot(in[0], ref.Embedding(in[4], ints)) + dot(table, in[4])) // the second has the gradient that is there before
		}}
	}
	return one
}

func wordsOf(v []uint32) optest.Input {
	var ints []int
	for _, x := range v {
		ints = append(ints, int(x))
	}
	return integers(ints...)
}

// The bits are those of f32 in the order of the tokens.
func embeddingBackwardTable() optest.Table {
	return optest.Table{Op: "embedding_bwd", Bound: embeddingBackwardBound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range embeddingBackwardShapes {
			cases = append(cases, c.of())
		}
		return cases
	}, Benchmarks: func() []optest.Case {
		return []optest.Case{embeddingBackwardShape{4096, 128, 2048, 700}.of(), embeddingBackwardShape{4096, 128, 2048, 4}.of()}
	}}
}

func TestEmbeddingBackward(t *testing.T) { embeddingBackwardTable().Test(t) }

func BenchmarkEmbeddingBackward(b *testing.B) { embeddingBackwardTable().Benchmark(b) }

// Those bits are near the sums of the reference.
func TestEmbeddingBackwardSequential(t *testing.T) {
	for _, c := range embeddingBackwardShapes {
		_, ints := picks(c.tokens, c.distinct)
		table, dy := random(c.vocab, c.hidden), random(c.tokens, c.hidden)
		nearSequential(t, table, dy, ints)
	}
}

// nearSequential compares additions one by one in f32 with those of the reference.
func nearSequential(t *testing.T, table, dy ref.Mat, rows []int) {
	t.Helper()
	got := flat(sequential(table, dy, rows))
	ref.EmbeddingBackward(table, dy, rows)
	embeddingBackwardBound.Near(t, got, table.Data, dtype.F32)
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
