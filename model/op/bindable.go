package op

import (
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
