package model

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Divergence is what a model says of a token beside its base, each given the tokens before it in its window, with p and q the
// probabilities of base and model over the vocabulary.
type Divergence struct {
	KL      float64 // Σ p·ln(p/q) over the vocabulary, nats; 0 exactly where the logits are the same
	BaseNLL float64 // −ln p of the token, nats
	NLL     float64 // −ln q of the token, nats
	Same    bool    // p and q are largest for the same token of the vocabulary, the first of equals
}

// Divergences compares f's last boundary, of m, with base's, of bm: element [w][t] is of token t+1 of window w, and a window of S
// tokens has S−1. Both have gone through the same windows, and rest; they may be of other depths and widths, but have one vocabulary.
// The logits of both are made tile by tile, in one pass over the two LM heads, beside 40 bytes for each token on the device, and the
// normed states and a tile of logits of one batch for both.
func (f *Forward) Divergences(ctx context.Context, m *Model, base *Forward, bm *Model) (all [][]Divergence, err error) {
	switch {
	case !f.Has(len(m.Layers)):
		return nil, fmt.Errorf("model: %s: the states at boundary %d are not kept", m.Name, len(m.Layers))
	case !base.Has(len(bm.Layers)):
		return nil, fmt.Errorf("model: %s: the states at boundary %d are not kept", bm.Name, len(bm.Layers))
	case f.d != base.d || !slices.EqualFunc(f.windows, base.windows, slices.Equal[[]uint32]):
		return nil, errors.New("model: the two models have not gone through the same windows on the same device")
	}
	if err := SameVocabulary(m, bm); err != nil {
		return nil, err
	}
	if err := errors.Join(f.Rest(ctx), base.Rest(ctx)); err != nil {
		return nil, err
	}
	cache := newWeightCache(f.d, f.cache.budget)
	var bufs []*vk.Buffer
	defer func() {
		err = errors.Join(err, f.r.Wait(context.WithoutCancel(ctx)))
		cache.close()
		f.d.Free(bufs...)
	}()
	alloc := func(name string, rows, cols int) op.Tensor {
		if err != nil {
			return op.Tensor{}
		}
		var b *vk.Buffer
		if b, err = f.d.NewBuffer(name, 4*int64(rows)*int64(cols), vk.OnDevice); err != nil {
			return op.Tensor{}
		}
		bufs = append(bufs, b)
		return op.Of(b.All(), dtype.F32, rows, cols)
	}
	// Rows of both models in the batches of f.
	step, n := f.logitRows(), f.batch*f.window
	norm, baseNorm := alloc("norms", n, f.config.HiddenSize), alloc("norms of the base", n, base.config.HiddenSize)
	gathered := op.Tensor{}
	if !slices.Equal(f.batches, base.batches) {
		gathered = alloc("states of the base", n, base.config.HiddenSize)
	}
	logits, baseLogits := alloc("logits", step, headUnit), alloc("logits of the base", step, headUnit)
	states, wanted := make([]op.Tensor, len(f.batches)), make([]op.Tensor, len(f.batches))
	for i, b := range f.batches {
		states[i], wanted[i] = alloc("divergence state", b.Windows()*f.window, op.KLState), alloc("targets", 1, b.Windows()*f.window)
		if err != nil {
			return nil, err
		}
		if err := f.d.Upload(ctx, wanted[i].View, words(targets(f.windows[b.Begin:b.End]))); err != nil {
			return nil, err
		}
	}
	err = headTilesOf(ctx, cache, f.r, []*Model{m, bm}, func(first int, w []op.Tensor) error {
		for i, b := range f.batches {
			x, err := f.tensor(ctx, len(m.Layers), i)
			if err != nil {
				return err
			}
			if err := f.r.Wait(ctx); err != nil { // what reads the base's staging buffer
				return err
			}
			var y op.Tensor
			if gathered.IsZero() {
				y, err = base.tensor(ctx, len(bm.Layers), i)
			} else {
				y, err = base.gather(ctx, len(bm.Layers), b, gathered)
			}
			if err != nil {
				return err
			}
			norm, baseNorm := norm.RowRange(0, x.Rows), baseNorm.RowRange(0, y.Rows)
			m.Config.recordNorm(f.r, norm, x, f.fixed.norm, f.fixed.normBias)
			bm.Config.recordNorm(f.r, baseNorm, y, base.fixed.norm, base.fixed.normBias)
			for begin := 0; begin < x.Rows; begin += step {
				end := min(begin+step, x.Rows)
				p, q := op.Of(baseLogits.View, dtype.F32, end-begin, headUnit), op.Of(logits.View, dtype.F32, end-begin, headUnit)
				op.LMHeadKL(f.r, states[i].RowRange(begin, end), p, q, baseNorm.RowRange(begin, end), norm.RowRange(begin, end), w[1], w[0],
					slice(wanted[i], begin, end), first)
			}
			if err := f.r.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, b := range f.batches {
		raw := make([]byte, states[i].Size())
		if err := f.d.Download(ctx, raw, states[i].View); err != nil {
			return nil, err
		}
		for w := range b.Windows() {
			list := make([]Divergence, f.window-1)
			for t := range list {
				list[t] = divergence(raw[4*op.KLState*(w*f.window+t):])
				if v := list[t]; v.KL-v.KL != 0 || v.NLL-v.NLL != 0 || v.BaseNLL-v.BaseNLL != 0 {
					return nil, fmt.Errorf("model: %s beside %s: token %d of window %d: KL %v, NLL %v and %v", m.Name, bm.Name, t+1, b.Begin+w, v.KL, v.NLL, v.BaseNLL)
				}
			}
			all = append(all, list)
		}
	}
	return all, nil
}

// divergence reads what op.KLTile knows of a token.
func divergence(state []byte) Divergence {
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(state[4*i:]) }
	value := func(i int) float64 { return float64(math.Float32frombits(word(i))) }
	nll := func(i int) float64 { return math.Log(value(i+1)) + (value(i) - value(i+2)) }
	return Divergence{KL: value(8), BaseNLL: nll(0), NLL: nll(4), Same: word(3) == word(7)}
}

// gather copies the states of windows [b.Begin, b.End) at a boundary, whose batches are others, to the beginning of out. They take the
// way over the host, as a window's rows need not start where a binding may.
func (f *Forward) gather(ctx context.Context, boundary int, b Batch, out op.Tensor) (op.Tensor, error) {
	for i, from := range f.batches {
		begin, end := max(b.Begin, from.Begin), min(b.End, from.End)
		if begin >= end {
			continue
		}
		x, err := f.tensor(ctx, boundary, i)
		if err != nil {
			return op.Tensor{}, err
		}
		raw := make([]byte, int64(end-begin)*f.stateBytes())
		if err := f.d.Download(ctx, raw, x.View.Slice(int64(begin-from.Begin)*f.stateBytes(), int64(len(raw)))); err != nil {
			return op.Tensor{}, err
		}
		if err := f.d.Upload(ctx, out.View.Slice(int64(begin-b.Begin)*f.stateBytes(), int64(len(raw))), raw); err != nil {
			return op.Tensor{}, err
		}
	}
	return out.RowRange(0, b.Windows()*f.window), nil
}

// SameVocabulary says by an error whether tokens mean different things to two models: their vocabularies differ in size, or the files
// of their tokenizers in content. Of a model without such a file only the size is known.
func SameVocabulary(m, base *Model) error {
	if m.Head.Rows != base.Head.Rows {
		return fmt.Errorf("model: %s has a vocabulary of %d tokens, %s of %d: only models of one vocabulary compare", m.Name, m.Head.Rows, base.Name, base.Head.Rows)
	}
	if m.Files == nil || base.Files == nil {
		return nil
	}
	for _, name := range []string{"tokenizer.json", "tokenizer.model"} {
		a, errA := fs.ReadFile(m.Files, name)
		b, errB := fs.ReadFile(base.Files, name)
		if err := cmp.Or(errA, errB); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("model: %s beside %s: %w", m.Name, base.Name, err)
		}
		if x, y := sha256.Sum256(a), sha256.Sum256(b); x != y {
			return fmt.Errorf("model: the %s of %s has SHA-256 %x…, that of %s %x…: only models of one tokenizer compare", name, m.Name, x[:4], base.Name, y[:4])
		}
		return nil
	}
	return nil
}
