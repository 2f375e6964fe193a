package op

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// crossentropyBound is of crossentropy.
var crossentropyBound = optest.Bound{Max: 5e-6, Why: "exp of f32 (3 + 2|x| ulp in Vulkan) and f32 logits; log within 2^-21"}

// someTargets are tokens of a vocabulary, every fifth of them unscored, with its first and last token among them.
func someTargets(tokens, vocab int) (words []uint32, ints []int) {
	for t := range tokens {
		ints = append(ints, t*7919%vocab)
	}
	ints[0], ints[tokens-1] = 0, vocab-1
	for t := 4; t < tokens; t += 5 {
		ints[t] = -1
	}
	for _, t := range ints {
		words = append(words, uint32(t))
	}
	return words, ints
}

// tiles are the columns of a matrix, so many at a time.
func tiles(m ref.Mat, tile int) (parts []ref.Mat) {
	for first := 0; first < m.Cols; first += tile {
		parts = append(parts, block(m, 0, m.Rows, first, min(first+tile, m.Cols)))
	}
	return parts
}

// Logits come in tiles of the vocabulary.
func crossentropyTable() optest.Table {
	return optest.Table{Op: "crossentropy", Bound: crossentropyBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			tokens, vocab, tile int
			scale               float64 // of the logits
		}{{1, 1, 1, 1}, {3, 1999, 1999, 1}, {7, 1999, 127, 5}, {70, 130, 64, 30}, {2, 50000, 16384, 0.1}, {5, 640, 64, 300}, {128, 2048, 1024, 1}} {
			logits := random(c.tokens, c.vocab)
			for i := range logits.Data {
				logits.Data[i] *= c.scale
			}
			_, targets := someTargets(c.tokens, c.vocab)
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.tokens, c.vocab, c.tile, c.scale), In: append(f32s(tiles(logits, c.tile)...), integers(targets...)),
				Out: likes(ref.NewMat(1, c.tokens)), Extra: scratch(c.tokens, 3),
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					o, x := tensors(out), tensors(in)
					parts, targets := x[:len(x)-1], x[len(x)-1]
					for i, part := range parts {
						CrossEntropyTile(r, o[1], part, targets, i*c.tile)
					}
					CrossEntropy(r, o[0], o[1], targets)
				},
				Want: func(in []ref.Mat) []ref.Mat {
					return one(vector(ref.CrossEntropy(ref.ConcatCols(in[:len(in)-1]...), targets)...))
				},
				Measured: c.tokens == 128,
			})
		}
		return cases
	}}
}

func TestCrossEntropy(t *testing.T) { crossentropyTable().Test(t) }

func BenchmarkCrossEntropy(b *testing.B) { crossentropyTable().Benchmark(b) }

// headParts cuts a head in two, as it comes where it is large.
func headParts(vocab int) (parts [][2]int) {
	half := vocab / 2 / 128 * 128
	if half > 0 {
		parts = append(parts, [2]int{0, half})
	}
	return append(parts, [2]int{half, vocab})
}

// Logits of 2.4 MB and a head of 1.5 MB, on a device that binds 1 MiB, give the bits that they give in one piece: the last case.
func lmheadlossTable() optest.Table {
	return optest.Table{Op: "lmheadloss", Bound: crossentropyBound, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			tokens, hidden, vocab, tile int
			dtype                       dtype.DType
			of                          Logits
		}{
			{1, 24, 1999, 256, dtype.F16, Logits{}}, {9, 120, 1999, 640, dtype.BF16, Logits{Cap: 2}}, {5, 32, 300, 300, dtype.F32, Logits{0.25, 3}},
			{600, 384, 1999, 1024, dtype.BF16, Logits{}},
		} {
			x, split, parts := random(c.tokens, c.hidden), c.tokens == 600, headParts(c.vocab)
			if split {
				parts = [][2]int{{0, c.vocab}}
				for i := range x.Data {
					x.Data[i] /= 16
				}
			}
			_, targets := someTargets(c.tokens, c.vocab)
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.tokens, c.vocab, c.hidden, c.tile, c.dtype), Of: c.dtype,
				In:  []optest.Input{{Mat: x}, {Mat: random(c.vocab, c.hidden), DType: c.dtype}, integers(targets...)},
				Out: likes(ref.NewMat(1, c.tokens)),
				Extra: func(b *optest.Bench) []optest.Tensor {
					return []optest.Tensor{b.Empty(dtype.F32, c.tokens, 3), b.Empty(dtype.F32, c.tokens, c.tile)}
				},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					o, x := tensors(out), tensors(in)
					for _, p := range parts {
						LMHeadLoss(r, o[1], o[2], x[0], x[2], p[0], Head{W: x[1].RowRange(p[0], p[1]), Logits: c.of})
					}
					CrossEntropy(r, o[0], o[1], x[2])
				},
				Want: func(in []ref.Mat) []ref.Mat {
					return one(vector(ref.CrossEntropy(c.of.want(ref.Linear(in[0], in[1], nil)), targets)...))
				},
				Split: split, Measured: split, Flops: 2 * float64(c.tokens*c.vocab*c.hidden),
			})
		}
		return cases
	}}
}

func TestLMHeadLoss(t *testing.T) { lmheadlossTable().Test(t) }

func BenchmarkLMHeadLoss(b *testing.B) { lmheadlossTable().Benchmark(b) }

func TestCrossEntropyShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	state, logits, targets := b.empty(dtype.F32, 4, 3), b.empty(dtype.F32, 4, 9), b.words(make([]uint32, 4))
	x, w, loss := b.empty(dtype.F32, 4, 8), b.empty(dtype.F16, 9, 8), b.empty(dtype.F32, 1, 4)
	refused(t, d, "tile of other tokens", func(r *vk.Recorder) { CrossEntropyTile(r, state, logits.RowRange(0, 3), targets, 0) })
	refused(t, d, "16-bit logits", func(r *vk.Recorder) { CrossEntropyTile(r, state, Of(logits.View, dtype.F16, 4, 9), targets, 0) })
	refused(t, d, "negative first", func(r *vk.Recorder) { CrossEntropyTile(r, state, logits, targets, -1) })
	refused(t, d, "loss of other tokens", func(r *vk.Recorder) { CrossEntropy(r, loss.Reshape(4, 1), state, targets) })
	refused(t, d, "absent loss", func(r *vk.Recorder) { CrossEntropy(r, Tensor{}, Tensor{}, Tensor{}) })
	refused(t, d, "head of other width", func(r *vk.Recorder) { LMHeadLoss(r, state, logits, x, targets, 0, Head{W: w.Reshape(8, 9)}) })
	refused(t, d, "no scratch", func(r *vk.Recorder) { LMHeadLoss(r, state, Tensor{}, x, targets, 0, Head{W: w}) })
}
