package op

import "github.com/vkcome/vkcome/vk"

// WeightedSquares records y[t] = w[t]·Σ_i x[t,i]², with the roundings of GramOperand.
//
//	y, w  [1, rows]     F32
//	x     [rows, cols]  F32
func WeightedSquares(r *vk.Recorder, y, x, w Tensor) {
	if !check(r, "weightedsquares", x.Elements() > 0 && y.Is(1, x.Rows) && w.Is(1, x.Rows) && words(y, x, w) && loops(r.Device(), x.Cols, maxLossCols), y, x, w) {
		return
	}
	group := reduceGroup(r.Device())
	pieces(r, "weightedsquares", x.Rows, maxGroups, func(begin, end int) {
		part := x.RowRange(begin, end)
		dispatch(r, "weightedsquares", spec("WORKGROUP", group).with(byFour(x.Cols)...), [3]int{end - begin, 1, 1}, push("cols", x.Cols, "first", begin), float64(4*part.Elements()),
			vk.In(part.View), vk.In(w.View), vk.Out(y.View))
	}, x.RowBytes())
}
