package op

import (
	"fmt"

	"github.com/vkcome/vkcome/vk"
)

// RoPE turns, in place and in every head, the pair (i, i+headDim/2) of row t by angle i of position start + t % window: the
// rotate-half layout, over windows of window rows each.
//
//	x       [rows, heads·headDim]  F32
//	cosSin  [positions, headDim]   F32: the cosines of a position's headDim/2 angles, then the sines, as model.RopeTable makes them
//
// Source: Su et al. 2021, arXiv 2104.09864.
func RoPE(r *vk.Recorder, x, cosSin Tensor, headDim, window, start int) {
	ok := headDim > 0 && headDim%2 == 0 && window > 0 && start >= 0 && x.Elements() > 0 && words(x, cosSin)
	if !check(r, "rope", ok && x.Cols%headDim == 0 && cosSin.Cols == headDim && start+min(window, x.Rows) <= cosSin.Rows, x, cosSin) {
		return
	}
	d := r.Device()
	fit := func(t Tensor) int { return int(d.Limits().StorageRange/t.RowBytes()) - rowUnit(r, t) + 1 }
	span, step := x.Rows, min(x.Rows, fit(x), maxGroups)
	if fit(cosSin) < min(window, x.Rows) { // a binding does not hold the positions of a window: a dispatch takes some of one window
		span, step = window, min(step, fit(cosSin))
	}
	if step <= 0 {
		r.Fail(fmt.Errorf("op rope: rows of %v and of %v, %s binds at most %s: %w", x, cosSin, d.Info.Name, vk.Bytes(d.Limits().StorageRange), vk.ErrLimit))
		return
	}
	for first := 0; first < x.Rows; first += span {
		for begin := 0; begin < min(span, x.Rows-first); begin += step {
			end := min(begin+step, span, x.Rows-first)
			part, skip := bindable(r, x, first+begin, first+end)
			low, high, turn := start, start+min(window, x.Rows), begin%window
			if span == window {
				low, high, turn = start+begin, start+end, 0
			}
			table, row := bindable(r, cosSin, low, high)
			dispatch(r, "rope", []uint32{rowGroup}, [3]int{ceilDiv(x.Cols/2, rowGroup), end - begin, 1},
				push(x.Cols, headDim/2, window, turn, skip, row), float64(12*x.Cols*(end-begin)), vk.InOut(part.View), vk.In(table.View))
		}
	}
}
