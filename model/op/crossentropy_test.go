package op

import (
	"slices"
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

func TestCrossEntropy(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			tokens, vocab, tile int
			scale               float64 // of the logits
		}{{1, 1, 1, 1}, {3, 1999, 1999, 1}, {7, 1999, 127, 5}, {70, 130, 64, 30}, {2, 50000, 16384, 0.1}, {5, 640, 64, 300}} {
			b := newBench(t, d)
			logits := random(c.tokens, c.vocab)
			for i := range logits.Data {
				logits.Data[i] *= c.scale
			}
			words, targets := someTargets(c.tokens, c.vocab)
			state, loss, dt := b.empty(dtype.F32, c.tokens, 3), b.empty(dtype.F32, 1, c.tokens), b.words(words)
			var rounded []ref.Mat
			for first := 0; first < c.vocab; first += c.tile {
				tile := block(logits, 0, c.tokens, first, min(first+c.tile, c.vocab))
				CrossEntropyTile(b.r, state, b.upload(tile, dtype.F32), dt, first)
				rounded = append(rounded, tile)
			}
			CrossEntropy(b.r, loss, state, dt)
			crossentropyBound.Near(t, b.download(loss), ref.CrossEntropy(ref.ConcatCols(rounded...), targets), dtype.F32)
		}
	})
}

func TestLMHeadLoss(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			tokens, hidden, vocab, tile int
			dtype                       dtype.DType
		}{{1, 24, 1999, 256, dtype.F16}, {9, 120, 1999, 640, dtype.BF16}, {5, 32, 300, 300, dtype.F32}} {
			b := newBench(t, d)
			x, w := random(c.tokens, c.hidden), random(c.vocab, c.hidden)
			words, targets := someTargets(c.tokens, c.vocab)
			dx, dw, dt := b.upload(x, dtype.F32), b.upload(w, c.dtype), b.words(words)
			state, logits, loss := b.empty(dtype.F32, c.tokens, 3), b.empty(dtype.F32, c.tokens, c.tile), b.empty(dtype.F32, 1, c.tokens)
			half := c.vocab / 2 / 128 * 128 // the head in two parts, as it comes where it is large
			if half > 0 {
				LMHeadLoss(b.r, state, logits, dx, dw.RowRange(0, half), dt, 0)
			}
			LMHeadLoss(b.r, state, logits, dx, dw.RowRange(half, c.vocab), dt, half)
			CrossEntropy(b.r, loss, state, dt)
			crossentropyBound.Near(t, b.download(loss), ref.CrossEntropy(ref.Linear(x, w, nil), targets), c.dtype)
		}
	})
}

// Logits of 2.4 MB and a head of 1.5 MB, on a device that binds 1 MiB, must give the bits that they give in one piece.
func TestLMHeadLossSplit(t *testing.T) {
	const tokens, hidden, vocab, tile = 600, 384, 1999, 1024
	x, w := random(tokens, hidden), random(vocab, hidden)
	for i := range x.Data {
		x.Data[i] /= 16
	}
	words, _ := someTargets(tokens, vocab)
	run := func(d *vk.Device) []float32 {
		b := newBench(t, d)
		dt, state, loss := b.words(words), b.empty(dtype.F32, tokens, 3), b.empty(dtype.F32, 1, tokens)
		LMHeadLoss(b.r, state, b.empty(dtype.F32, tokens, tile), b.upload(x, dtype.F32), b.upload(w, dtype.BF16), dt, 0)
		CrossEntropy(b.r, loss, state, dt)
		return b.download(loss)
	}
	if whole, split := run(vktest.Open(t, vk.Options{})), run(vktest.Open(t, vk.Options{StorageRange: 1 << 20})); !slices.Equal(whole, split) {
		t.Error("bindings of 1 MiB change the loss")
	}
	vktest.Clean(t)
}

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
	refused(t, d, "head of other width", func(r *vk.Recorder) { LMHeadLoss(r, state, logits, x, w.Reshape(8, 9), targets, 0) })
	refused(t, d, "no scratch", func(r *vk.Recorder) { LMHeadLoss(r, state, Tensor{}, x, w, targets, 0) })
}
