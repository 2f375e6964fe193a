package op

import "github.com/vkcome/vkcome/vk"

// LayerNorm records y = (x − mean(x)) · rsqrt(var(x) + eps) · w + b for every row of x.
//
//	x, y  [rows, hidden]  F32; y may be x
//	w, b  [1, hidden]     any dtype, the same
//
// Source: Ba, Kiros & Hinton 2016, arXiv 1607.06450.
func LayerNorm(r *vk.Recorder, y, x, w, b Tensor, eps float32) {
	ok := x.Elements() > 0 && words(x, y) && y.Is(x.Rows, x.Cols) && w.Is(1, x.Cols) && b.Is(1, x.Cols) && w.DType == b.DType
	if !check(r, "layernorm", ok, y, x, w, b) {
		return
	}
	pieces(r, "layernorm", x.Rows, maxGroups, func(begin, end int) {
		dispatch(r, "layernorm"+suffix(w.DType), spec("WORKGROUP", reduceGroup(r.Device())).with(byFour(x.Cols)...), [3]int{end - begin, 1, 1}, push("hidden", x.Cols, "eps", eps), float64(8*x.Cols*(end-begin)),
			vk.In(x.RowRange(begin, end).View), vk.In(w.View), vk.In(b.View), vk.Out(y.RowRange(begin, end).View))
	}, x.RowBytes())
}
