package op

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// LinearGrads is what LinearBackward is to give, each of them unless it is absent, and the scratch that it takes.
type LinearGrads struct {
	X        Tensor // [tokens, in] F32: Residual + dy·w
	Residual Tensor // [tokens, in] F32, may be X; absent: nothing is added
	W        Tensor // [out, in] F32: dyᵀ·x is added to it
	Bias     Tensor // [1, out] F32: the sum of the rows of dy is added to it

	XT  Tensor // [in, tokens] F32, x transposed: for W
	DYT Tensor // [out, tokens] F32 of scratch: for W
	WT  Tensor // [in, out], w's dtype, of scratch: for X
	// Ready says that WT holds w transposed already.
	Ready bool
	// Scratch [tokens, out] and Halves, of LinearGradHalves floats, are as Fused's, for X and for W; may be absent.
	Scratch, Halves Tensor
}

// LinearBackward records the gradients of Linear, y = x·wᵀ + bias, given that of y. Products of transposed operands are the same as those
// of a forward pass, and take its kernels: with weights of 16 bits those of cooperative matrices, where dy and x are rounded to f16, each output's and each
// input's by its own scale.
//
//	dy  [tokens, out]  F32
//	w   [out, in]      any dtype
func LinearBackward(r *vk.Recorder, dy, w Tensor, g LinearGrads) {
	ok := words(dy) && dy.Elements() > 0 && w.Rows == dy.Cols
	ok = ok && (g.X.IsZero() || g.X.Is(dy.Rows, w.Cols) && g.WT.Is(w.Cols, w.Rows) && g.WT.DType == w.DType)
	ok = ok && (g.W.IsZero() || g.W.Is(w.Rows, w.Cols) && g.XT.Is(w.Cols, dy.Rows) && words(g.W, g.XT, g.DYT) && g.DYT.Is(dy.Cols, dy.Rows))
	if !check(r, "linear_bwd", ok, dy, w, g.X, g.Residual, g.W, g.Bias, g.XT, g.DYT, g.WT, g.Scratch, g.Halves) {
		return
	}
	if !g.Bias.IsZero() {
		ColumnSum(r, g.Bias, dy, true)
	}
	if !g.W.IsZero() {
		Transpose(r, g.DYT, dy)
		LinearFused(r, g.W, g.DYT, g.XT, g.ofWeights(w.DType))
	}
	if !g.X.IsZero() {
		if !g.Ready {
			Transpose(r, g.WT, w)
		}
		LinearFused(r, g.X, dy, g.WT, Fused{Residual: g.Residual, Scratch: g.Scratch, Halves: g.Halves, Batch: true})
	}
}

// ofWeights is how W, the product of DYT and XT, is fused where the weights are of a dtype.
func (g LinearGrads) ofWeights(weights dtype.DType) Fused {
	f := Fused{Residual: g.W, Batch: true, Half: weights != dtype.F32}
	if f.Half && !g.Scratch.IsZero() {
		f.Scratch, f.Halves = Of(g.Scratch.View, dtype.F32, g.DYT.Rows, g.DYT.Cols), g.Halves
	}
	return f
}
