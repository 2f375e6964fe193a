package op

import "github.com/vkcome/vkcome/vk"

// RMSNorm records y = x · rsqrt(mean(x²) + eps) · w for every row of x.
//
//	x, y  [rows, hidden]  F32; y may be x
//	w     [1, hidden]     any dtype
//
// Source: Zhang & Sennrich 2019, arXiv 1910.07467.
func RMSNorm(r *vk.Recorder, y, x, w Tensor, eps float32) {
	if !check(r, "rmsnorm", y.Is(x.Rows, x.Cols) && w.Is(1, x.Cols), y, x, w) {
		return
	}
	pieces(r, "rmsnorm", x.Rows, maxGroups, func(begin, end int) {
		rowwise(r, "rmsnorm", suffix(w.DType), x.Cols%(texelBytes/w.DType.Size()) == 0, end-begin, push("hidden", x.Cols, "eps", eps, "rows", end-begin), float64(4*x.Cols*(end-begin)),
			vk.In(x.RowRange(begin, end).View), vk.In(w.View), vk.Out(y.RowRange(begin, end).View))
	}, x.RowBytes())
}
