package op

import (
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// The table passes in tiles of rows. Weights become f32 without rounding, so equality is exact. Tokens outside of all tiles leave their
// rows alone.
func embeddingTable() optest.Table {
	return optest.Table{Op: "embedding", Cases: func() (cases []optest.Case) {
		for _, dt := range dtype.All {
			for _, c := range []struct{ vocab, hidden, tokens, tile int }{{1, 1, 1, 1}, {1999, 127, 5, 1000}, {40, 120, 70, 13}, {3001, 401, 2503, 2000}} {
				_, ids := picks(c.tokens, c.vocab)
				table := random(c.vocab, c.hidden)
				in := []optest.Input{integers(ids...)}
				for first := 0; first < c.vocab; first += c.tile {
					in = append(in, optest.Input{Mat: block(table, first, min(first+c.tile, c.vocab), 0, c.hidden), DType: dt})
				}
				cases = append(cases, optest.Case{
					Name: optest.Shape(c.vocab, c.hidden, c.tokens, c.tile, dt), In: in, Out: exact(dtype.F32, c.tokens, c.hidden),
					Record: func(r *vk.Recorder, out, in []optest.Tensor) {
						for i, tile := range in[1:] {
							Embedding(r, Tensor(out[0]), Tensor(tile), Tensor(in[0]), i*c.tile)
						}
					},
					Want:  func(in []ref.Mat) []ref.Mat { return one(ref.Embedding(ref.ConcatRows(in[1:]...), ids)) },
					Split: c.vocab == 3001, Measured: c.vocab == 3001,
				})
			}
		}
		nan := math.NaN()
		return append(cases, optest.Case{
			Name: "outside",
			In:   []optest.Input{integers(6, 5, 7, -1), {Mat: ref.Mat{Rows: 2, Cols: 2, Data: []float64{1, 2, 3, 4}}, DType: dtype.BF16}},
			Out:  []optest.Output{{Rows: 4, Cols: 2, Exact: true, Start: random(4, 2)}},
			Record: func(r *vk.Recorder, out, in []optest.Tensor) {
				Embedding(r, Tensor(out[0]), Tensor(in[1]), Tensor(in[0]), 5)
			},
			Want: func([]ref.Mat) []ref.Mat {
				return one(ref.Mat{Rows: 4, Cols: 2, Data: []float64{3, 4, 1, 2, nan, nan, nan, nan}})
			},
		})
	}}
}

func TestEmbedding(t *testing.T) { embeddingTable().Test(t) }

func BenchmarkEmbedding(b *testing.B) { embeddingTable().Benchmark(b) }

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
