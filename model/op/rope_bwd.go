package op

import "github.com/vkcome/vkcome/vk"

// RoPEBackward turns, in place and in every head, pair i of row t, as rotary makes them, by the opposite of angle i of position
// start + t % window, over windows of window rows each: x is the gradient of what SplitQKV turned and becomes that of what it read.
//
//	x       [rows, heads·headDim]  F32
//	cosSin  [positions, dim]       F32: the cosines of a position's dim/2 angles, then the sines, as arch.Config.RopeTable makes them; dim is
//	                               rotary's, headDim where that is 0
//
// Source: Su et al. 2021, arXiv 2104.09864.
func RoPEBackward(r *vk.Recorder, x, cosSin Tensor, headDim, window, start int, rotary Rotary) {
	const op = "rope_bwd"
	dim, ok := rotary.of(headDim)
	ok = ok && window > 0 && start >= 0 && x.Elements() > 0 && words(x, cosSin)
	if !check(r, op, ok && x.Cols%headDim == 0 && cosSin.Cols == dim && start+min(window, x.Rows) <= cosSin.Rows, x, cosSin) {
		return
	}
	shader, texels, group, units, rows := op, uint32(0), rowGroup, x.Cols/headDim*dim/2, 1
	if (headDim|dim)%8 == 0 {
		units /= 4
		if texelLoads(r.Device()) {
			shader, texels, group, rows = op+"_texels", 0b11, cpuLanes, 16
		}
	}
	special := spec("WORKGROUP", group, "HEAD_DIM", headDim, "ROTARY", dim, "INTERLEAVED", rotary.Interleaved, "ROWS", rows)
	turns(r, op, cosSin, x.Rows, maxGroups, window, start, func(begin, end int, table Tensor, turn, row int) {
		part, skip := bindable(r, x, begin, end)
		dispatchTexels(r, shader, texels, special, [3]int{ceilDiv(units, group), ceilDiv(end-begin, rows), 1},
			push("cols", x.Cols, "rows", end-begin, "window", window, "first", turn, "skip_x", skip, "skip_table", row), float64(12*x.Cols*(end-begin)), vk.In(part.View), vk.In(table.View), vk.Out(part.View))
	}, x)
}
