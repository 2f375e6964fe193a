package op

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// The table passes in tiles of rows. Weights become f32 without rounding, so equality is exact.
func TestEmbedding(t *testing.T) {
	eachAndSplit(t, func(t *testing.T, d *vk.Device, split bool) {
		for _, dt := range dtype.All {
			for _, c := range []struct{ vocab, hidden, tokens, tile int }{{1, 1, 1, 1}, {1999, 127, 5, 1000}, {40, 120, 70, 13}, {3001, 401, 2503, 2000}} {
				if c.vocab < 3001 == split {
					continue
				}
				t.Run(fmt.Sprint(dt, c), func(t *testing.T) {
					b := newBench(t, d)
					ids, ints := picks(c.tokens, c.vocab)
					tokens, y, table := b.words(ids), b.empty(dtype.F32, c.tokens, c.hidden), random(c.vocab, c.hidden)
					for first := 0; first < c.vocab; first += c.tile {
						end := min(first+c.tile, c.vocab)
						tile := block(table, first, end, 0, c.hidden)
						Embedding(b.r, y, b.upload(tile, dt), tokens, first)
						copy(table.Data[first*c.hidden:], tile.Data) // as rounded
					}
					if !slices.Equal(b.download(y), flat(ref.Embedding(table, ints))) {
						t.Error("rows differ")
					}
				})
			}
		}
	})
}

// Tokens outside the tile leave their rows alone.
func TestEmbeddingOutside(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		table := b.upload(ref.Mat{Rows: 2, Cols: 2, Data: []float64{1, 2, 3, 4}}, dtype.BF16)
		y := b.upload(ref.Mat{Rows: 4, Cols: 2, Data: []float64{9, 9, 9, 9, 9, 9, 9, 9}}, dtype.F32)
		Embedding(b.r, y, table, b.words([]uint32{6, 5, 7, 0xffffffff}), 5)
		if got, want := b.download(y), []float32{3, 4, 1, 2, 9, 9, 9, 9}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestEmbeddingShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	y, table, tokens := b.empty(dtype.F32, 2, 3), b.empty(dtype.F16, 5, 3), b.words([]uint32{0, 1})
	refused(t, d, "other columns", func(r *vk.Recorder) { Embedding(r, y, table.Reshape(3, 5), tokens, 0) })
	refused(t, d, "other tokens", func(r *vk.Recorder) { Embedding(r, y.RowRange(0, 1), table, tokens, 0) })
	refused(t, d, "a y of 16 bits", func(r *vk.Recorder) { Embedding(r, Of(y.View, dtype.F16, 2, 3), table, tokens, 0) })
	refused(t, d, "a negative row", func(r *vk.Recorder) { Embedding(r, y, table, tokens, -1) })
	refused(t, d, "nothing", func(r *vk.Recorder) { Embedding(r, Tensor{}, Tensor{}, Tensor{}, 0) })
}
