package op

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// CrossEntropyTile folds the logits of vocabulary rows [first, first+cols) into every token's running softmax. Tiles come in the
// order of the vocabulary; first = 0 starts anew.
//
//	state    [tokens, 3]     F32: the largest logit so far, Σ exp(logit − largest), the target's logit
//	logits   [tokens, cols]  F32
//	targets  [1, tokens]     32-bit words, all ones where unscored
//
// Source: Milakov & Gimelshein 2018, arXiv 1805.02867.
func CrossEntropyTile(r *vk.Recorder, state, logits, targets Tensor, first int) {
	ok := logits.Elements() > 0 && first >= 0 && words(state, logits, targets) && targets.Is(1, logits.Rows) && state.Is(logits.Rows, 3)
	if !check(r, "crossentropytile", ok, state, logits, targets) {
		return
	}
	pieces(r, "crossentropytile", logits.Rows, maxGroups, func(begin, end int) {
		part := logits.RowRange(begin, end)
		dispatch(r, "crossentropytile", spec("WORKGROUP", longGroup(r.Device(), logits.Cols)).with(byFour(logits.Cols)...), [3]int{end - begin, 1, 1}, push("cols", logits.Cols, "first", first, "token", begin), float64(part.Size()),
			vk.In(part.View), vk.In(targets.View), vk.InOut(state.View))
	}, logits.RowBytes())
}

// CrossEntropy records the loss in nats, log(sum) + max − target, of what CrossEntropyTile has gathered; 0 where unscored.
//
//	loss, targets  [1, tokens]  F32; 32-bit words
//	state          [tokens, 3]  F32
func CrossEntropy(r *vk.Recorder, loss, state, targets Tensor) {
	if !check(r, "crossentropy", words(loss, state, targets) && loss.Is(1, state.Rows) && targets.Is(1, state.Rows) && state.Cols == 3, loss, state, targets) {
		return
	}
	dispatch(r, "crossentropy", spec("WORKGROUP", rowGroup), [3]int{ceilDiv(state.Rows, rowGroup), 1, 1}, push("tokens", state.Rows), float64(20*state.Rows),
		vk.In(state.View), vk.In(targets.View), vk.Out(loss.View))
}

// Head is rows of an LM head, what becomes of its products, and what these take as scratch.
type Head struct {
	W Tensor // [rows, hidden], any dtype
	Logits
	Scratch, Halves Tensor // as Fused's; may be absent
}

// record records the logits of rows [begin, end).
func (h Head) record(r *vk.Recorder, y, x Tensor, begin, end int) {
	LinearFused(r, y, x, h.W.RowRange(begin, end), Fused{Scratch: h.Scratch, Halves: h.Halves, Batch: true})
	h.Logits.Record(r, y)
}

// LMHeadLoss folds the logits x·wᵀ of vocabulary rows [first, first+rows) into state, as CrossEntropyTile does, by tiles of as many
// rows as logits has columns: the logits of the whole vocabulary are never in memory.
//
//	state    [tokens, 3]       F32
//	logits   [tokens, tile]    F32, scratch
//	x        [tokens, hidden]  F32, normed
//	targets  [1, tokens]       32-bit words, all ones where unscored
func LMHeadLoss(r *vk.Recorder, state, logits, x, targets Tensor, first int, h Head) {
	w := h.W
	ok := logits.Elements() > 0 && w.Elements() > 0 && words(state, logits, x, targets) && logits.Rows == x.Rows &&
		w.Cols == x.Cols && targets.Is(1, x.Rows) && state.Is(x.Rows, 3) && first >= 0
	if !check(r, "lmheadloss", ok, state, logits, x, w, targets) {
		return
	}
	pieces(r, "lmheadloss", w.Rows, logits.Cols, func(begin, end int) {
		tile := Of(logits.View, dtype.F32, x.Rows, end-begin)
		h.record(r, tile, x, begin, end)
		CrossEntropyTile(r, state, tile, targets, first+begin)
	}, w.RowBytes())
}
