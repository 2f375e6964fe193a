package op

import (
	"fmt"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// rowUnit is how many rows lie between those of t that a binding can start at.
func rowUnit(r *vk.Recorder, t Tensor) int {
	align := r.Device().Limits().OffsetAlignment
	return int(align / gcd(align, t.RowBytes()))
}

// bindable is rows [begin, end) of t with the few before them, skip, that bring its start to an offset that can be bound.
func bindable(r *vk.Recorder, t Tensor, begin, end int) (part Tensor, skip int) {
	skip = begin % rowUnit(r, t)
	return t.RowRange(begin-skip, end), skip
}

// bindableRows is how many rows of t a binding holds, wherever they begin.
func bindableRows(r *vk.Recorder, t Tensor) int {
	return int(r.Device().Limits().StorageRange/t.RowBytes()) - rowUnit(r, t) + 1
}

// words reports whether the elements of all tensors, f32 or integers, are 32-bit words.
func words(tensors ...Tensor) bool {
	for _, t := range tensors {
		if t.DType != dtype.F32 {
			return false
		}
	}
	return true
}

// loops says whether an invocation can loop over n of something: on a driver with vk.LoopLimit over most, on others over any number.
func loops(d *vk.Device, n, most int) bool { return n <= most || !d.Info.Has(vk.LoopLimit) }

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
