package op

import "github.com/vkcome/vkcome/vk"

// LayerNormBackward records what LayerNorm's y = x̂ · w + b, x̂ = (x − mean(x)) · s, s = rsqrt(var(x) + eps) passes back, row by row:
// dx = residual + s·(g − mean(g) − x̂·mean(g·x̂)), g = dy·w, and products = dy·x̂, whose ColumnSum is the gradient of w. That of b is the
// ColumnSum of dy.
//
//	dx, products  [rows, hidden]  F32; each may be any of dy, x and residual, but not both the same. The zero Tensor is not made.
//	dy, x         [rows, hidden]  F32
//	w             [1, hidden]     any dtype
//	residual      [rows, hidden]  F32; the zero Tensor is none
//
// Source: Ba, Kiros & Hinton 2016, arXiv 1607.06450.
func LayerNormBackward(r *vk.Recorder, dx, products, dy, x, w, residual Tensor, eps float32) {
	normBackward(r, "layernorm_bwd", dx, products, dy, x, w, residual, eps)
}
