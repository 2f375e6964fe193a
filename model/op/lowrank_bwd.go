package op

import "github.com/vkcome/vkcome/vk"

// LowRankGrads is what LowRankBackward is to give, and the scratch that it takes.
type LowRankGrads struct {
	A Tensor // [rank, in] F32: added to
	B Tensor // [rank, out] F32: added to

	XT      Tensor // [in, tokens] F32, x transposed
	DYT     Tensor // [out, tokens] F32 of scratch
	Product Tensor // [rank, tokens] F32 of scratch
}

// LowRankBackward records the gradients of the factors of a low-rank update, y = x·(w + bᵀ·a)ᵀ, given that of y, without that of w:
//
//	dB += (a·xᵀ)·dy,  dA += (b·dyᵀ)·x
//
//	dy  [tokens, out]  F32
//	x   [tokens, in]   F32
//	a   [rank, in]     F32
//	b   [rank, out]    F32
//
// The gradient of x is that of Linear. Source: Hu et al. 2022, arXiv 2106.09685.
func LowRankBackward(r *vk.Recorder, dy, x, a, b Tensor, g LowRankGrads) {
	tokens, rank := dy.Rows, a.Rows
	ok := words(dy, x, a, b, g.A, g.B, g.XT, g.DYT, g.Product) && dy.Elements() > 0 && x.Rows == tokens && a.Elements() > 0 && a.Cols == x.Cols && b.Is(rank, dy.Cols)
	ok = ok && g.A.Is(rank, x.Cols) && g.B.Is(rank, dy.Cols) && g.XT.Is(x.Cols, tokens) && g.DYT.Is(dy.Cols, tokens) && g.Product.Is(rank, tokens)
	if !check(r, "lowrank_bwd", ok, dy, x, a, b, g.A, g.B, g.XT, g.DYT, g.Product) {
		return
	}
	Transpose(r, g.DYT, dy)
	LinearFused(r, g.Product, a, x, Fused{Batch: true})
	LinearFused(r, g.B, g.Product, g.DYT, Fused{Residual: g.B, Batch: true})
	LinearFused(r, g.Product, b, dy, Fused{Batch: true})
	LinearFused(r, g.A, g.Product, g.XT, Fused{Residual: g.A, Batch: true})
}
