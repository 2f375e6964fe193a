package op

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// halfRowBytes is what a row of weights takes as halfRows writes it: its elements, and 16 bytes with what undoes their scale.
func halfRowBytes(cols int) int64 { return 2*int64(cols) + 16 }

// halfRows records y = f16(w · 2^s), row by row, each followed by 2^−s in 16 bytes: s brings a row's largest element near the end of what f16
// holds, as toHalf's does, so that bf16, which has fewer bits than f16 and larger exponents, loses nothing but what is less than 2^-31 of that.
//
//	y  [rows, cols/2 + 4]  words
//	w  [rows, cols]        BF16; cols a multiple of 8
func halfRows(r *vk.Recorder, y, w Tensor) {
	ok := words(y) && w.DType == dtype.BF16 && w.Elements() > 0 && w.Cols%8 == 0 && y.Is(w.Rows, int(halfRowBytes(w.Cols)/4))
	if !check(r, "halfrows", ok, y, w) {
		return
	}
	special := spec("WORKGROUP", reduceGroup(r.Device()))
	pieces(r, "halfrows", w.Rows, maxGroups, func(begin, end int) {
		dispatch(r, "halfrows"+suffix(w.DType), special, [3]int{end - begin, 1, 1}, push("depth", w.Cols), float64(10*w.Cols*(end-begin)),
			vk.In(w.RowRange(begin, end).View), vk.Out(y.RowRange(begin, end).View))
	}, w.RowBytes(), y.RowBytes())
}
