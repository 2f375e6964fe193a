package op

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// FitNorm is the norm that a layer's MLP has behind it: the layer gives out = r + g·z/rms(z) with z what the down projection gives, and
// rms(z) = sqrt(mean(z²) + Eps) for every row. The zero value is none.
type FitNorm struct {
	Z       Tensor // [rows, hidden] F32
	G       Tensor // [1, hidden], any dtype
	PlusOne bool   // by g + 1
	Eps     float32
}

// FitTarget records by how much what a layer's last projection gives is to change, and what a change counts.
//
//	e       [rows, hidden]  F32; (y − out)·scale, or behind a norm (y − out)·scale·rms(z)/g, 0 where g is 0; may be out
//	w       [1, rows]       F32; 1/‖y‖², behind a norm 1/(‖y‖·rms(z))²; 0 where that is not finite
//	out, y  [rows, hidden]  F32: what the layer gives, and what it should give
//
// ‖y‖·rms(z) must be between 1e-19 and 1e19, or 0.
func FitTarget(r *vk.Recorder, e, w, out, y Tensor, scale float32, n FitNorm) {
	normed := !n.Z.IsZero()
	ok := out.Elements() > 0 && y.Is(out.Rows, out.Cols) && e.Is(out.Rows, out.Cols) && w.Is(1, out.Rows) && words(e, w, out, y) && normed == !n.G.IsZero()
	ok = ok && (!normed || n.Z.Is(out.Rows, out.Cols) && words(n.Z) && n.G.Is(1, out.Cols)) && loops(r.Device(), out.Cols, maxLossCols)
	if !check(r, "fittarget", ok, e, w, out, y, n.Z, n.G) {
		return
	}
	z, g := n.Z, n.G
	if !normed { // something to bind
		z, g = out, w
		g.DType = dtype.F32
	}
	special := spec("WORKGROUP", reduceGroup(r.Device()), "NORMED", normed, "PLUS_ONE", n.PlusOne).with(byFour(out.Cols)...)
	pieces(r, "fittarget", out.Rows, maxGroups, func(begin, end int) {
		part := func(t Tensor) vk.View { return t.RowRange(begin, end).View }
		dispatch(r, "fittarget"+suffix(g.DType), special, [3]int{end - begin, 1, 1}, push("hidden", out.Cols, "first", begin, "scale", scale, "eps", n.Eps), float64(16*(end-begin)*out.Cols),
			vk.In(part(out)), vk.In(part(y)), vk.In(part(z)), vk.In(g.View), vk.Out(part(e)), vk.Out(w.View))
	}, out.RowBytes())
}
