package run

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
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
func Divergences(ctx context.Context, f *Forward, m *model.Model, base *Forward, bm *model.Model) (all [][]Divergence, err error) {
	switch {
	case !f.store.Has(len(m.Layers)):
		return nil, fmt.Errorf("model: %s: the states at boundary %d are not kept", m.Name, len(m.Layers))
	case !base.store.Has(len(bm.Layers)):
		return nil, fmt.Errorf("model: %s: the states at boundary %d are not kept", bm.Name, len(bm.Layers))
	case f.d != base.d || !slices.EqualFunc(f.Corpus.Windows, base.Corpus.Windows, slices.Equal[[]uint32]):
		return nil, errors.New("model: the two models have not gone through the same windows on the same device")
	}
	if err := model.SameVocabulary(m, bm); err != nil {
		return nil, err
	}
	if err := errors.Join(f.Rest(ctx), base.Rest(ctx)); err != nil {
		return nil, err
	}
	cache := graph.NewCache(f.d, f.cache.Budget())
	scope := f.d.NewScope()
	defer func() {
		err = errors.Join(err, f.r.Wait(context.WithoutCancel(ctx)))
		cache.Close()
		scope.Free()
	}()
	alloc := func(name string, rows, cols int) op.Tensor {
		return graph.Floats(scope.Buffer(name, 4*int64(rows)*int64(cols), vk.OnDevice), rows, cols)
	}
	// Rows of both models in the batches of f.
	step, n := f.logitRows(), f.Corpus.Most
	norm, baseNorm := alloc("norms", n, f.config.HiddenSize), alloc("norms of the base", n, base.config.HiddenSize)
	gathered := op.Tensor{}
	if !slices.Equal(f.Corpus.Batches, base.Corpus.Batches) {
		gathered = alloc("states of the base", n, base.config.HiddenSize)
	}
	spare := graph.NewSpare(scope, m.Top[arch.Head].DType, step, f.config.HiddenSize, graph.HeadUnit)
	baseSpare := graph.NewSpare(scope, bm.Top[arch.Head].DType, step, base.config.HiddenSize, graph.HeadUnit)
	logits, baseLogits := alloc("logits", step, graph.HeadUnit), alloc("logits of the base", step, graph.HeadUnit)
	states, wanted := make([]op.Tensor, len(f.Corpus.Batches)), make([]op.Tensor, len(f.Corpus.Batches))
	for i, b := range f.Corpus.Batches {
		states[i], wanted[i] = alloc("divergence state", b.Windows()*f.Corpus.Window, op.KLState), alloc("targets", 1, b.Windows()*f.Corpus.Window)
		if err := scope.Err(); err != nil {
			return nil, err
		}
		if err := f.d.Upload(ctx, wanted[i].View, graph.Words(f.Corpus.Targets(i))); err != nil {
			return nil, err
		}
	}
	err = graph.HeadTilesOf(ctx, cache, f.r, []*model.Model{m, bm}, func(first int, w []op.Tensor) error {
		for i, b := range f.Corpus.Batches {
			x, err := f.store.Tensor(ctx, len(m.Layers), i)
			if err != nil {
				return err
			}
			if err := f.r.Wait(ctx); err != nil { // what reads the base's staging buffer
				return err
			}
			var y op.Tensor
			if gathered.IsZero() {
				y, err = base.store.Tensor(ctx, len(bm.Layers), i)
			} else {
				y, err = base.gather(ctx, len(bm.Layers), b, gathered)
			}
			if err != nil {
				return err
			}
			norm, baseNorm := norm.RowRange(0, x.Rows), baseNorm.RowRange(0, y.Rows)
			f.shared.RecordFinalNorm(f.r, m.Config, norm, x)
			base.shared.RecordFinalNorm(f.r, bm.Config, baseNorm, y)
			for begin := 0; begin < x.Rows; begin += step {
				end := min(begin+step, x.Rows)
				p, q := op.Of(baseLogits.View, dtype.F32, end-begin, graph.HeadUnit), op.Of(logits.View, dtype.F32, end-begin, graph.HeadUnit)
				x, y := norm.RowRange(begin, end), baseNorm.RowRange(begin, end)
				op.LMHeadKL(f.r, states[i].RowRange(begin, end), p, q, y, x, graph.Slice(wanted[i], begin, end), first,
					graph.HeadOf(bm.Config, w[1], baseSpare, y), graph.HeadOf(m.Config, w[0], spare, x))
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
	for i, b := range f.Corpus.Batches {
		raw := make([]byte, states[i].Size())
		if err := f.d.Download(ctx, raw, states[i].View); err != nil {
			return nil, err
		}
		for w := range b.Windows() {
			list := make([]Divergence, f.Corpus.Window-1)
			for t := range list {
				list[t] = divergence(raw[4*op.KLState*(w*f.Corpus.Window+t):])
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
	stateBytes := 4 * int64(f.Corpus.Window) * int64(f.config.HiddenSize)
	for i, from := range f.Corpus.Batches {
		begin, end := max(b.Begin, from.Begin), min(b.End, from.End)
		if begin >= end {
			continue
		}
		x, err := f.store.Tensor(ctx, boundary, i)
		if err != nil {
			return op.Tensor{}, err
		}
		raw := make([]byte, int64(end-begin)*stateBytes)
		if err := f.d.Download(ctx, raw, x.View.Slice(int64(begin-from.Begin)*stateBytes, int64(len(raw)))); err != nil {
			return op.Tensor{}, err
		}
		if err := f.d.Upload(ctx, out.View.Slice(int64(begin-b.Begin)*stateBytes, int64(len(raw))), raw); err != nil {
			return op.Tensor{}, err
		}
	}
	return out.RowRange(0, b.Windows()*f.Corpus.Window), nil
}
