package op

import "github.com/vkcome/vkcome/vk"

// NormOptions are what a norm does besides. The zero value is nothing.
type NormOptions struct {
	// PlusOne says that weights are stored without the 1 that they are around, as in Gemma's files: the norm multiplies by w + 1.
	PlusOne  bool
	Residual Tensor // [rows, hidden] F32, added
}

// RMSNorm records y = x · rsqrt(mean(x²) + eps) · w for every row of x.
//
//	x, y  [rows, hidden]  F32; y may be x or the residual
//	w     [1, hidden]     any dtype
//
// Source: Zhang & Sennrich 2019, arXiv 1910.07467.
func RMSNorm(r *vk.Recorder, y, x, w Tensor, eps float32, o NormOptions) {
	residual := o.Residual
	if !check(r, "rmsnorm", y.Is(x.Rows, x.Cols) && w.Is(1, x.Cols) && words(x, y, residual) && (residual.IsZero() || residual.Is(x.Rows, x.Cols)), y, x, w, residual) {
		return
	}
	special := spec("PLUS_ONE", o.PlusOne, "RESIDUAL", !residual.IsZero())
	texels := 0b111 * flag(x.Cols%(texelBytes/w.DType.Size()) == 0)
	pieces(r, "rmsnorm", x.Rows, maxGroups, func(begin, end int) {
		in := vk.In(x.RowRange(begin, end).View)
		added := in // something has to be bound
		if !residual.IsZero() {
			added = vk.In(residual.RowRange(begin, end).View)
		}
		rowwiseSpec(r, "rmsnorm", suffix(w.DType), texels, special, end-begin, x.Cols, push("hidden", x.Cols, "eps", eps, "rows", end-begin), float64(4*x.Cols*(end-begin)),
			in, vk.In(w.View), added, vk.Out(y.RowRange(begin, end).View))
	}, x.RowBytes())
}
