package op

import (
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// kltileBound is of kltile.
var kltileBound = optest.Bound{Max: 1e-5, Why: "kl; and for each tile exp, log_ratio and a few roundings of what is never negative"}

// klStates reads what KLTile knows of each token.
func klStates(b *bench, state Tensor) []ref.Divergence {
	raw := b.download(state)
	all := make([]ref.Divergence, state.Rows)
	for t := range all {
		s := raw[KLState*t : KLState*(t+1)]
		nll := func(s []float32) float64 { return math.Log(float64(s[1])) + float64(s[0]) - float64(s[2]) }
		all[t] = ref.Divergence{KL: float64(s[8]), BaseNLL: nll(s), NLL: nll(s[4:]), BaseTop: int(math.Float32bits(s[3])), Top: int(math.Float32bits(s[7]))}
	}
	return all
}

// nearDivergences compares with the reference. Its largest logits must have the same indices.
func nearDivergences(t *testing.T, got, want []ref.Divergence, targets []int, of dtype.DType) {
	t.Helper()
	var kl, nll []float32
	var wantKL, wantNLL []float64
	for i, w := range want {
		g := got[i]
		kl, wantKL = append(kl, float32(g.KL)), append(wantKL, w.KL)
		if targets[i] >= 0 {
			nll, wantNLL = append(nll, float32(g.BaseNLL), float32(g.NLL)), append(wantNLL, w.BaseNLL, w.NLL)
		}
		if g.BaseTop != w.BaseTop || g.Top != w.Top {
			t.Errorf("token %d: largest logits %d and %d, want %d and %d", i, g.BaseTop, g.Top, w.BaseTop, w.Top)
		}
	}
	kltileBound.Near(t, kl, wantKL, of)
	crossentropyBound.Near(t, nll, wantNLL, of)
}

func TestKLTile(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			tokens, vocab, tile int
			scale, noise, shift float64 // of the base's logits; between it and the model
		}{
			{1, 1, 1, 1, 1, 0}, {3, 1999, 1999, 1, 1, 0.25}, {7, 1999, 127, 5, 0.1, -8}, {70, 130, 64, 30, 5, 3}, {2, 50000, 16384, 1, 0.01, 2},
			{5, 640, 64, 1, 0.001, 0.5}, {5, 3000, 1000, 3, 30, 1}, {3, 517, 128, 100, 100, 0}, {1, 70000, 70000, 2, 0.02, 1},
		} {
			b := newBench(t, d)
			base, noise := random(c.tokens, c.vocab), random(c.tokens+1, c.vocab)
			model := ref.NewMat(c.tokens, c.vocab)
			for i := range base.Data {
				base.Data[i] = float64(float32(base.Data[i] * c.scale))
				model.Data[i] = float64(float32(base.Data[i] + c.noise*noise.Data[i] + c.shift))
			}
			words, targets := someTargets(c.tokens, c.vocab)
			state, dt := b.empty(dtype.F32, c.tokens, KLState), b.words(words)
			for first := 0; first < c.vocab; first += c.tile {
				end := min(first+c.tile, c.vocab)
				KLTile(b.r, state, b.upload(block(base, 0, c.tokens, first, end), dtype.F32), b.upload(block(model, 0, c.tokens, first, end), dtype.F32), dt, first)
			}
			nearDivergences(t, klStates(b, state), ref.Divergences(base, model, targets), targets, dtype.F32)
		}
	})
}

// A model against itself does not differ by a bit, and the first of equal logits is the largest.
func TestKLTileItself(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		const tokens, vocab, tile = 33, 1999, 640
		b := newBench(t, d)
		logits := random(tokens, vocab)
		for i := range logits.Data {
			logits.Data[i] = math.Round(logits.Data[i]*4) / 2
		}
		words, targets := someTargets(tokens, vocab)
		state, dt := b.empty(dtype.F32, tokens, KLState), b.words(words)
		for first := 0; first < vocab; first += tile {
			tile := b.upload(block(logits, 0, tokens, first, min(first+tile, vocab)), dtype.F32)
			KLTile(b.r, state, tile, tile, dt, first)
		}
		want := ref.Divergences(logits, logits, targets)
		for i, g := range klStates(b, state) {
			if g.KL != 0 || targets[i] >= 0 && g.BaseNLL != g.NLL || g.BaseTop != want[i].Top || g.Top != want[i].Top {
				t.Errorf("token %d: %+v, want %+v", i, g, want[i])
			}
		}
	})
}

func TestLMHeadKL(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			tokens, hidden, vocab, tile int
			dtype                       dtype.DType
		}{{1, 24, 1999, 256, dtype.F32}, {9, 120, 1999, 640, dtype.F32}, {5, 32, 300, 300, dtype.F32}} {
			b := newBench(t, d)
			xb, xm, wb, wm := random(c.tokens, c.hidden), random(c.tokens+1, c.hidden), random(c.vocab, c.hidden), random(c.vocab+1, c.hidden)
			xm, wm = block(xm, 0, c.tokens, 0, c.hidden), block(wm, 0, c.vocab, 0, c.hidden)
			words, targets := someTargets(c.tokens, c.vocab)
			dxb, dxm, dwb, dwm, dt := b.upload(xb, dtype.F32), b.upload(xm, dtype.F32), b.upload(wb, c.dtype), b.upload(wm, c.dtype), b.words(words)
			state, p, q := b.empty(dtype.F32, c.tokens, KLState), b.empty(dtype.F32, c.tokens, c.tile), b.empty(dtype.F32, c.tokens, c.tile)
			half := c.vocab / 2 / 128 * 128 // the heads in two parts, as they come where they are large
			LMHeadKL(b.r, state, p, q, dxb, dxm, dwb.RowRange(0, half), dwm.RowRange(0, half), dt, 0)
			LMHeadKL(b.r, state, p, q, dxb, dxm, dwb.RowRange(half, c.vocab), dwm.RowRange(half, c.vocab), dt, half)
			nearDivergences(t, klStates(b, state), ref.Divergences(ref.Linear(xb, wb, nil), ref.Linear(xm, wm, nil), targets), targets, c.dtype)
		}
	})
}

// Logits of 2.4 MB and a head of 1.5 MB, on a device that binds 1 MiB, must give the bits that they give in one piece.
func TestLMHeadKLSplit(t *testing.T) {
	const tokens, hidden, vocab, tile = 600, 384, 1999, 1024
	x, other, w := random(tokens, hidden), random(tokens, hidden), random(vocab, hidden)
	for i := range x.Data {
		x.Data[i] /= 16
		other.Data[i] = x.Data[i] * 1.01
	}
	words, _ := someTargets(tokens, vocab)
	run := func(d *vk.Device) []ref.Divergence {
		b := newBench(t, d)
		state, head := b.empty(dtype.F32, tokens, KLState), b.upload(w, dtype.BF16)
		LMHeadKL(b.r, state, b.empty(dtype.F32, tokens, tile), b.empty(dtype.F32, tokens, tile), b.upload(x, dtype.F32), b.upload(other, dtype.F32), head, head, b.words(words), 0)
		return klStates(b, state)
	}
	if whole, split := run(vktest.Open(t, vk.Options{})), run(vktest.Open(t, vk.Options{StorageRange: 1 << 20})); !slices.Equal(whole, split) {
		t.Error("bindings of 1 MiB change the divergence")
	}
	vktest.Clean(t)
}

func TestKLTileShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	state, logits, targets := b.empty(dtype.F32, 4, KLState), b.empty(dtype.F32, 4, 9), b.words(make([]uint32, 4))
	x, w := b.empty(dtype.F32, 4, 8), b.empty(dtype.F16, 9, 8)
	refused(t, d, "logits of other tokens", func(r *vk.Recorder) { KLTile(r, state, logits, logits.RowRange(0, 3), targets, 0) })
	refused(t, d, "state of cross-entropy", func(r *vk.Recorder) { KLTile(r, state.Reshape(12, 3), logits, logits, targets, 0) })
	refused(t, d, "negative first", func(r *vk.Recorder) { KLTile(r, state, logits, logits, targets, -1) })
	refused(t, d, "heads of other sizes", func(r *vk.Recorder) { LMHeadKL(r, state, logits, logits, x, x, w, w.RowRange(0, 8), targets, 0) })
	refused(t, d, "head of other width", func(r *vk.Recorder) { LMHeadKL(r, state, logits, logits, x, x, w, w.Reshape(8, 9), targets, 0) })
	refused(t, d, "no scratch", func(r *vk.Recorder) { LMHeadKL(r, state, Tensor{}, Tensor{}, x, x, w, w, targets, 0) })
}
