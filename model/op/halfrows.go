package op

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// In two parts a number is what f16 holds of it, and what f16 holds of the rest: 22 bits. The product of two such is high·high + high·low + low·high.
const partsOf = 2

// partsRows is how many rows of x are put in parts at a time: these take all of Fused.Scratch, and their scales the first bytes of Fused.Halves.
const partsRows = 4096

// partsScales is what these scales take.
func partsScales(d *vk.Device) int64 { return bindableAt(d, 4*partsRows) }

// halfRowBytes is what a row of weights takes as halfRows writes it: its elements, with what f16 loses of them where in parts, and 16 bytes with what undoes
// their scale.
func halfRowBytes(cols int, parts bool) int64 {
	if parts {
		cols *= partsOf
	}
	return 2*int64(cols) + 16
}

// halfRows records y = f16(w · 2^s), row by row, each followed by 2^−s in 16 bytes: s brings a row's largest element near the end of what f16
// holds, as toHalf's does, so that bf16, which has fewer bits than f16 and larger exponents, loses nothing but what is less than 2^-31 of that. In
// parts a row is followed by what f16 loses of it.
//
//	y  [rows, cols/2 + 4]  words; in parts [rows, cols + 4]
//	w  [rows, cols]        BF16 or F32; cols a multiple of 8
func halfRows(r *vk.Recorder, y, w Tensor) {
	parts := y.Cols > w.Cols
	ok := words(y) && (w.DType == dtype.BF16 || w.DType == dtype.F32) && w.Elements() > 0 && w.Cols%8 == 0 && y.Is(w.Rows, int(halfRowBytes(w.Cols, parts)/4))
	if !check(r, "halfrows", ok, y, w) {
		return
	}
	special := spec("WORKGROUP", reduceGroup(r.Device()), "PARTS", parts)
	pieces(r, "halfrows", w.Rows, maxGroups, func(begin, end int) {
		dispatch(r, "halfrows"+suffix(w.DType), special, [3]int{end - begin, 1, 1}, push("depth", w.Cols), float64(10*w.Cols*(end-begin)),
			vk.In(w.RowRange(begin, end).View), vk.Out(y.RowRange(begin, end).View))
	}, w.RowBytes(), y.RowBytes())
}
