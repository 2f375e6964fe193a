package op

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// toHalf records y = f16(x · 2^s) and unscale = 2^−s, with an s of each row that brings its largest element near the end of what f16
// holds: no activation is too large for f16, and those too small for it are nothing beside the row's largest. With a norm, x is first
// normed as by RMSNorm, with plusOne by its weights and 1. In parts, see partsOf, a row is followed by what f16 loses of it.
//
//	y        [rows, cols]  F16, rounded to nearest even; in parts [rows, 2·cols]; cols a multiple of 4
//	unscale  [rows, 1]     F32
//	x        [rows, cols]  F32
//	norm     [1, cols]     any dtype; the zero Tensor is none
func toHalf(r *vk.Recorder, y, unscale, x, norm Tensor, eps float32, plusOne bool) {
	parts := y.Cols > x.Cols
	ok := words(x, unscale) && y.DType == dtype.F16 && x.Elements() > 0 && x.Cols%4 == 0 && (y.Is(x.Rows, x.Cols) || y.Is(x.Rows, partsOf*x.Cols)) && unscale.Is(x.Rows, 1) &&
		(norm.IsZero() || norm.Is(1, x.Cols))
	if !check(r, "tohalf", ok, y, unscale, x, norm) {
		return
	}
	special := spec("WORKGROUP", reduceGroup(r.Device()), "NORM", normed(norm, plusOne), "PARTS", parts)
	pieces(r, "tohalf", x.Rows, maxGroups, func(begin, end int) {
		weights := norm
		if norm.IsZero() {
			weights = Of(x.View, dtype.F32, 1, 1) // something has to be bound
		}
		dispatch(r, "tohalf"+suffix(norm.DType), special, [3]int{end - begin, 1, 1}, push("depth", x.Cols, "eps", eps), float64(10*x.Cols*(end-begin)),
			vk.In(x.RowRange(begin, end).View), vk.In(weights.View), vk.Out(y.RowRange(begin, end).View), vk.Out(unscale.RowRange(begin, end).View))
	}, x.RowBytes(), y.RowBytes(), unscale.RowBytes())
}

// normed is the specialization constant NORM of shaders that norm what they read: 0 for no norm, 1 for its weights, 2 for these and 1.
func normed(norm Tensor, plusOne bool) uint32 {
	return flag(!norm.IsZero()) * (1 + flag(plusOne))
}
