package op

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// KLState is how many 32-bit words KLTile keeps of a token: of the base its largest logit so far, Σ exp(logit − largest), the target's
// logit, and the index of the first of the largest, an integer; the same four of the model; and KL(base‖model) in nats over the
// vocabulary so far.
const KLState = 9

// KLTile folds the logits of two models for vocabulary rows [first, first+cols) into what is known of each token. Tiles come in the
// order of the vocabulary; first = 0 starts anew. No term of the divergence is negative, so that small ones are as precise as large
// ones, and logits of the same bits give 0.
//
//	state        [tokens, 9]     32-bit words, see KLState
//	base, model  [tokens, cols]  F32, finite
//	targets      [1, tokens]     32-bit words, all ones where unscored
//
// Source: the chain rule of relative entropy, Cover & Thomas 2006, section 2.5; Milakov & Gimelshein 2018, arXiv 1805.02867.
func KLTile(r *vk.Recorder, state, base, model, targets Tensor, first int) {
	const most = 60_000 * 4 / 3 // columns, of which an invocation loops 3/4 times: for vk.LoopLimit
	ok := base.Elements() > 0 && loops(r.Device(), base.Cols, most) && first >= 0 && words(state, base, model, targets) && model.Is(base.Rows, base.Cols) &&
		targets.Is(1, base.Rows) && state.Is(base.Rows, KLState)
	if !check(r, "kltile", ok, state, base, model, targets) {
		return
	}
	pieces(r, "kltile", base.Rows, maxGroups, func(begin, end int) {
		p, q := base.RowRange(begin, end), model.RowRange(begin, end)
		dispatch(r, "kltile", spec("WORKGROUP", longGroup(r.Device(), base.Cols)).with(byFour(base.Cols)...), [3]int{end - begin, 1, 1}, push("cols", base.Cols, "first", first, "token", begin), float64(2*p.Size()),
			vk.In(p.View), vk.In(q.View), vk.In(targets.View), vk.InOut(state.View))
	}, base.RowBytes())
}

// LMHeadKL folds the logits xb·wbᵀ and xm·wmᵀ of vocabulary rows [first, first+rows) into state, as KLTile does, by tiles of as many
// rows as logits have columns: the logits of the whole vocabulary are never in memory.
//
//	state           [tokens, 9]       32-bit words, see KLState
//	base, model     [tokens, tile]    F32, scratch
//	xb, xm          [tokens, hidden]  F32, normed, each as wide as its head
//	targets         [1, tokens]       32-bit words, all ones where unscored
//
// b and m are the heads of base and model, which may be the same.
func LMHeadKL(r *vk.Recorder, state, base, model, xb, xm, targets Tensor, first int, b, m Head) {
	wb, wm := b.W, m.W
	ok := base.Elements() > 0 && wb.Elements() > 0 && words(state, base, model, xb, xm, targets) && base.Rows == xb.Rows && xm.Rows == xb.Rows &&
		model.Is(base.Rows, base.Cols) && wb.Cols == xb.Cols && wm.Cols == xm.Cols && wm.Rows == wb.Rows &&
		targets.Is(1, xb.Rows) && state.Is(xb.Rows, KLState) && first >= 0
	if !check(r, "lmheadkl", ok, state, base, model, xb, xm, wb, wm, targets) {
		return
	}
	pieces(r, "lmheadkl", wb.Rows, base.Cols, func(begin, end int) {
		p, q := Of(base.View, dtype.F32, xb.Rows, end-begin), Of(model.View, dtype.F32, xb.Rows, end-begin)
		b.record(r, p, xb, begin, end)
		m.record(r, q, xm, begin, end)
		KLTile(r, state, p, q, targets, first+begin)
	}, wb.RowBytes(), wm.RowBytes())
}
