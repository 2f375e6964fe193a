package op

import "github.com/vkcome/vkcome/vk"

// BlockInfluence records out[t] = 1 − clamp(cos(x[t], y[t]), 0, 1). A cosine that is not a number, as of a row of zeros, counts as
// 0.5.
//
//	out   [1, rows]       F32
//	x, y  [rows, hidden]  F32
//
// Source: ShortGPT, arXiv 2403.03853.
func BlockInfluence(r *vk.Recorder, out, x, y Tensor) { rowAngles(r, "blockinfluence", out, x, y) }

// AngularDistance records out[t] = arccos(clamp(cos(x[t], y[t]), 0, 1))/π: from 0, parallel, to 0.5, orthogonal or further apart. A
// cosine that is not a number counts as 0.5, a distance of 1/3.
//
//	out   [1, rows]       F32
//	x, y  [rows, hidden]  F32
func AngularDistance(r *vk.Recorder, out, x, y Tensor) { rowAngles(r, "angulardistance", out, x, y) }

func rowAngles(r *vk.Recorder, op string, out, x, y Tensor) {
	if !check(r, op, x.Elements() > 0 && y.Is(x.Rows, x.Cols) && out.Is(1, x.Rows) && words(out, x, y), out, x, y) {
		return
	}
	pieces(r, op, x.Rows, maxGroups, func(begin, end int) {
		part := x.RowRange(begin, end)
		rowwise(r, op, "", x.Cols%4 == 0, end-begin, x.Cols, push("hidden", x.Cols, "first", begin, "rows", end-begin), float64(7*part.Elements()),
			vk.In(part.View), vk.In(y.RowRange(begin, end).View), vk.Out(out.View))
	}, x.RowBytes())
}
