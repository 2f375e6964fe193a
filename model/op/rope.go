package op

import (
	"fmt"

	"github.com/vkcome/vkcome/vk"
)

// RoPEBackward turns, in place and in every head, the pair (i, i+headDim/2) of row t by the opposite of angle i of position
// start + t % window, over windows of window rows each: x is the gradient of what SplitQKV turned and becomes that of what it read.
//
//	x       [rows, heads·headDim]  F32
//	cosSin  [positions, headDim]   F32: the cosines of a position's headDim/2 angles, then the sines, as model.RopeTable makes them
//
// Source: Su et al. 2021, arXiv 2104.09864, in the rotate-half layout.
func RoPEBackward(r *vk.Recorder, x, cosSin Tensor, headDim, window, start int) {
	const op, backward = "rope_bwd", 1
	ok := headDim > 0 && headDim%2 == 0 && window > 0 && start >= 0 && x.Elements() > 0 && words(x, cosSin)
	if !check(r, op, ok && x.Cols%headDim == 0 && cosSin.Cols == headDim && start+min(window, x.Rows) <= cosSin.Rows, x, cosSin) {
		return
	}
	shader, texels, group, units, rows := "rope", uint32(0), rowGroup, x.Cols/2, 1
	if headDim%8 == 0 {
		units /= 4
		if texelLoads(r.Device()) {
			shader, texels, group, rows = "rope_texels", 0b11, cpuLanes, 16
		}
	}
	special := spec("WORKGROUP", group, "HALF", headDim/2, "BACKWARD", backward, "ROWS", rows)
	turns(r, op, cosSin, x.Rows, maxGroups, window, start, func(begin, end int, table Tensor, turn, row int) {
		part, skip := bindable(r, x, begin, end)
		dispatchTexels(r, shader, texels, special, [3]int{ceilDiv(units, group), ceilDiv(end-begin, rows), 1},
			push("cols", x.Cols, "rows", end-begin, "window", window, "first", turn, "skip_x", skip, "skip_table", row), float64(12*x.Cols*(end-begin)), vk.In(part.View), vk.In(table.View), vk.Out(part.View))
	}, x)
}

// turns calls f for consecutive ranges of rows, each of at most maxRows and what bindings of these tensors hold, with the part of
// cosSin that has the positions of the range: row i of it is at position start + i % window, in row `row + (turn + i−begin) % window`
// of the part. Without cosSin the ranges alone matter.
func turns(r *vk.Recorder, op string, cosSin Tensor, rows, maxRows, window, start int, f func(begin, end int, table Tensor, turn, row int), tensors ...Tensor) {
	d := r.Device()
	span, step := rows, min(rows, maxRows)
	for _, t := range tensors {
		step = min(step, bindableRows(r, t))
	}
	if !cosSin.IsZero() && bindableRows(r, cosSin) < min(window, rows) { // a binding does not hold the positions of a window: a dispatch takes some of one window
		span, step = window, min(step, bindableRows(r, cosSin))
	}
	if step <= 0 {
		r.Fail(fmt.Errorf("op %s: rows of %v and of %v, %s binds at most %s: %w", op, tensors, cosSin, d.Info.Name, vk.Bytes(d.Limits().StorageRange), vk.ErrLimit))
		return
	}
	for first := 0; first < rows; first += span {
		for begin := 0; begin < min(span, rows-first); begin += step {
			end := min(begin+step, span, rows-first)
			low, high, turn := start, start+min(window, rows), begin%window
			if span == window {
				low, high, turn = start+begin, start+end, 0
			}
			if cosSin.IsZero() {
				f(first+begin, first+end, cosSin, turn, 0)
				continue
			}
			table, row := bindable(r, cosSin, low, high)
			f(first+begin, first+end, table, turn, row)
		}
	}
}
