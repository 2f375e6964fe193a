package op

import "github.com/vkcome/vkcome/vk"

// CosineTarget records what the states that a layer gives lack in direction alone: e and w of the weighted squares Σ_t w_t ‖e_t − δ_t‖² that, as
// a function of the change δ of out, have at 0 the gradient of Σ_t 2·(1 − cos(out_t + δ_t, y_t)), where cos is more than 0.1.
//
//	e       [rows, hidden]  F32; (c·y − out)·scale with c = ‖out‖/(‖y‖·k), k = max(cos(out, y), 0.1); may be out
//	w       [1, rows]       F32; k/‖out‖²; e and w are 0 where out or y is
//	out, y  [rows, hidden]  F32: what the layer gives, and what it should give
//
// The lengths must be between 1e-19 and 1e19, or 0.
func CosineTarget(r *vk.Recorder, e, w, out, y Tensor, scale float32) {
	ok := out.Elements() > 0 && y.Is(out.Rows, out.Cols) && e.Is(out.Rows, out.Cols) && w.Is(1, out.Rows) && words(e, w, out, y) && loops(r.Device(), out.Cols, maxLossCols)
	if !check(r, "cosinetarget", ok, e, w, out, y) {
		return
	}
	pieces(r, "cosinetarget", out.Rows, maxGroups, func(begin, end int) {
		part := func(t Tensor) vk.View { return t.RowRange(begin, end).View }
		dispatch(r, "cosinetarget", spec("WORKGROUP", reduceGroup(r.Device())).with(byFour(out.Cols)...), [3]int{end - begin, 1, 1}, push("hidden", out.Cols, "first", begin, "scale", scale),
			float64(16*(end-begin)*out.Cols), vk.In(part(out)), vk.In(part(y)), vk.Out(part(e)), vk.Out(w.View))
	}, out.RowBytes())
}
