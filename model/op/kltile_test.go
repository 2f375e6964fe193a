package op

import (
	"math"
	"sync"
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
func klStates(raw []float32) []ref.Divergence {
	all := make([]ref.Divergence, len(raw)/KLState)
	for t := range all {
		s := raw[KLState*t : KLState*(t+1)]
		nll := func(s []float32) float64 { return math.Log(float64(s[1])) + float64(s[0]) - float64(s[2]) }
		all[t] = ref.Divergence{KL: float64(s[8]), BaseNLL: nll(s), NLL: nll(s[4:]), BaseTop: int(math.Float32bits(s[3])), Top: int(math.Float32bits(s[7]))}
	}
	return all
}

// nearDivergences compares with the reference. Its largest logits must have the same indices.
func nearDivergences(t testing.TB, got, want []ref.Divergence, targets []int, of dtype.DType) {
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

// Logits come in tiles of the vocabulary, the model's behind the base's.
func kltileTable() optest.Table {
	return optest.Table{Op: "kltile", Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			tokens, vocab, tile int
			scale, noise, shift float64 // of the base's logits; between it and the model
		}{
			{1, 1, 1, 1, 1, 0}, {3, 1999, 1999, 1, 1, 0.25}, {7, 1999, 127, 5, 0.1, -8}, {70, 130, 64, 30, 5, 3}, {2, 50000, 16384, 1, 0.01, 2},
			{5, 640, 64, 1, 0.001, 0.5}, {5, 3000, 1000, 3, 30, 1}, {3, 517, 128, 100, 100, 0}, {1, 70000, 70000, 2, 0.02, 1},
		} {
			base, noise := random(c.tokens, c.vocab), random(c.tokens+1, c.vocab)
			model := ref.NewMat(c.tokens, c.vocab)
			for i := range base.Data {
				base.Data[i] = float64(float32(base.Data[i] * c.scale))
				model.Data[i] = float64(float32(base.Data[i] + c.noise*noise.Data[i] + c.shift))
			}
			_, targets := someTargets(c.tokens, c.vocab)
			parts := append(tiles(base, c.tile), tiles(model, c.tile)...)
			want := sync.OnceValue(func() []ref.Divergence { return ref.Divergences(base, model, targets) })
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.tokens, c.vocab, c.tile, c.scale, c.noise, c.shift), In: append(f32s(parts...), integers(targets...)), Out: likes(ref.NewMat(c.tokens, KLState)),
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					x, n := tensors(in), len(parts)/2
					for i := range n {
						KLTile(r, Tensor(out[0]), x[i], x[n+i], x[2*n], i*c.tile)
					}
				},
				Check: func(t testing.TB, got [][]float32, _ []ref.Mat) {
					nearDivergences(t, klStates(got[0]), want(), targets, dtype.F32)
				},
				Measured: c.vocab >= 50000,
			})
		}
		return cases
	}}
}

func TestKLTile(t *testing.T) { kltileTable().Test(t) }

func BenchmarkKLTile(b *testing.B) { kltileTable().Benchmark(b) }

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
		for i, g := range klStates(b.download(state)) {
			if g.KL != 0 || targets[i] >= 0 && g.BaseNLL != g.NLL || g.BaseTop != want[i].Top || g.Top != want[i].Top {
				t.Errorf("token %d: %+v, want %+v", i, g, want[i])
			}
		}
	})
}

// Logits of 2.4 MB and a head of 1.5 MB, on a device that binds 1 MiB, give the bits that they give in one piece: the last case, whose
// models have one head.
func lmheadklTable() optest.Table {
	return optest.Table{Op: "lmheadkl", Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			tokens, hidden, vocab, tile int
			dtype                       dtype.DType
			of, than                    Logits
		}{
			{1, 24, 1999, 256, dtype.F32, Logits{}, Logits{}}, {9, 120, 1999, 640, dtype.F32, Logits{0.5, 0}, Logits{0, 40}}, {5, 32, 300, 300, dtype.F32, Logits{}, Logits{}},
			{600, 384, 1999, 1024, dtype.BF16, Logits{}, Logits{}},
		} {
			base, model, split, parts := random(c.tokens, c.hidden), random(c.tokens+1, c.hidden), c.tokens == 600, headParts(c.vocab)
			model = window(model, 0, c.tokens)
			heads := []optest.Input{{Mat: random(c.vocab, c.hidden), DType: c.dtype}, {Mat: window(random(c.vocab+1, c.hidden), 0, c.vocab), DType: c.dtype}}
			if split {
				parts, heads = [][2]int{{0, c.vocab}}, heads[:1]
				for i := range base.Data {
					base.Data[i] /= 16
					model.Data[i] = base.Data[i] * 1.01
				}
			}
			_, targets := someTargets(c.tokens, c.vocab)
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.tokens, c.vocab, c.hidden, c.tile, c.dtype), Of: c.dtype,
				In:  append(append(f32s(base, model), integers(targets...)), heads...),
				Out: likes(ref.NewMat(c.tokens, KLState)),
				Extra: func(b *optest.Bench) []optest.Tensor {
					return []optest.Tensor{b.Empty(dtype.F32, c.tokens, c.tile), b.Empty(dtype.F32, c.tokens, c.tile)}
				},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					o, x := tensors(out), tensors(in)
					for _, p := range parts {
						LMHeadKL(r, o[0], o[1], o[2], x[0], x[1], x[2], p[0], Head{W: x[3].RowRange(p[0], p[1]), Logits: c.of}, Head{W: x[len(x)-1].RowRange(p[0], p[1]), Logits: c.than})
					}
				},
				Check: func(t testing.TB, got [][]float32, in []ref.Mat) {
					if split {
						return // its bits are compared: with the reference, what is almost equal differs by the logits' roundings
					}
					want := ref.Divergences(c.of.want(ref.Linear(in[0], in[3], nil)), c.than.want(ref.Linear(in[1], in[4], nil)), targets)
					nearDivergences(t, klStates(got[0]), want, targets, c.dtype)
				},
				Split: split, Measured: split, Flops: 4 * float64(c.tokens*c.vocab*c.hidden),
			})
		}
		return cases
	}}
}

func TestLMHeadKL(t *testing.T) { lmheadklTable().Test(t) }

func BenchmarkLMHeadKL(b *testing.B) { lmheadklTable().Benchmark(b) }

func TestKLTileShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	state, logits, targets := b.empty(dtype.F32, 4, KLState), b.empty(dtype.F32, 4, 9), b.words(make([]uint32, 4))
	x, w := b.empty(dtype.F32, 4, 8), b.empty(dtype.F16, 9, 8)
	refused(t, d, "logits of other tokens", func(r *vk.Recorder) { KLTile(r, state, logits, logits.RowRange(0, 3), targets, 0) })
	refused(t, d, "state of cross-entropy", func(r *vk.Recorder) { KLTile(r, state.Reshape(12, 3), logits, logits, targets, 0) })
	refused(t, d, "negative first", func(r *vk.Recorder) { KLTile(r, state, logits, logits, targets, -1) })
	refused(t, d, "heads of other sizes", func(r *vk.Recorder) {
		LMHeadKL(r, state, logits, logits, x, x, targets, 0, Head{W: w}, Head{W: w.RowRange(0, 8)})
	})
	refused(t, d, "head of other width", func(r *vk.Recorder) {
		LMHeadKL(r, state, logits, logits, x, x, targets, 0, Head{W: w}, Head{W: w.Reshape(8, 9)})
	})
	refused(t, d, "no scratch", func(r *vk.Recorder) {
		LMHeadKL(r, state, Tensor{}, Tensor{}, x, x, targets, 0, Head{W: w}, Head{W: w})
	})
}
