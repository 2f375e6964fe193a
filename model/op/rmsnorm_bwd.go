package op

import "github.com/vkcome/vkcome/vk"

// RMSNormBackward records what RMSNorm's y = x̂ · w, x̂ = x · s, s = rsqrt(mean(x²) + eps) passes back, row by row:
// dx = residual + s·(dy·w − x̂·mean(dy·w·x̂)), and products = dy·x̂, whose ColumnSum is the gradient of w.
//
//	dx, products  [rows, hidden]  F32; each may be any of dy, x and residual, but not both the same. The zero Tensor is not made.
//	dy, x         [rows, hidden]  F32
//	w             [1, hidden]     any dtype
//	residual      [rows, hidden]  F32; the zero Tensor is none
//
// With plusOne, the norm multiplies by w + 1. For norms of heads, rows are tokens·heads and hidden is headDim. Source: Zhang & Sennrich 2019,
// arXiv 1910.07467.
func RMSNormBackward(r *vk.Recorder, dx, products, dy, x, w, residual Tensor, eps float32, plusOne bool) {
	normBackward(r, "rmsnorm_bwd", dx, products, dy, x, w, residual, eps, "PLUS_ONE", plusOne)
}

// normBackward records the gradient of a norm of rows; more are specialization constants besides.
func normBackward(r *vk.Recorder, op string, dx, products, dy, x, w, residual Tensor, eps float32, more ...any) {
	like := func(t Tensor, optional bool) bool { return optional && t.IsZero() || t.Is(x.Rows, x.Cols) }
	ok := x.Elements() > 0 && words(dx, products, dy, x, residual) && w.Is(1, x.Cols) && like(dy, false) && like(dx, true) && like(products, true) &&
		like(residual, true) && dx.View != products.View
	if !check(r, op, ok, dx, products, dy, x, w, residual) {
		return
	}
	texels := 0b1111 * flag(w.Cols%(texelBytes/w.DType.Size()) == 0)
	special := spec("DX", !dx.IsZero(), "PRODUCTS", !products.IsZero(), "RESIDUAL", !residual.IsZero()).with(more...)
	pieces(r, op, x.Rows, maxGroups, func(begin, end int) {
		in := func(t Tensor) vk.Arg { return vk.In(t.RowRange(begin, end).View) }
		optional := func(t Tensor, arg func(vk.View) vk.Arg) vk.Arg {
			if t.IsZero() {
				return vk.Unused(x.RowRange(begin, end).View)
			}
			return arg(t.RowRange(begin, end).View)
		}
		rowwiseSpec(r, op, suffix(w.DType), texels, special, end-begin, x.Cols, push("hidden", x.Cols, "eps", eps, "rows", end-begin), float64(20*x.Cols*(end-begin)),
			in(x), vk.In(w.View), in(dy), optional(residual, vk.In), optional(dx, vk.Out), optional(products, vk.Out))
	}, x.RowBytes())
}
