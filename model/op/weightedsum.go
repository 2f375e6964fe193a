package op

import "github.com/vkcome/vkcome/vk"

// WeightedTerm records one term of y = Σ weights[i]·xs[i], added up in their order in f32 and rounded once, to nearest even, in y's dtype.
// The first term makes scratch and the last y: terms need not be on the device together.
//
//	y, x     [rows, cols]  any dtype, the same
//	scratch  [rows, cols]  F32
func WeightedTerm(r *vk.Recorder, y, scratch, x Tensor, weight float32, first, last bool) {
	ok := y.Elements() > 0 && words(scratch) && scratch.Is(y.Rows, y.Cols) && x.Is(y.Rows, y.Cols) && x.DType == y.DType
	if check(r, "weightedsum", ok, y, scratch, x) {
		weightedTerm(r, y, scratch, x, weight, first, last)
	}
}

func weightedTerm(r *vk.Recorder, y, scratch, x Tensor, weight float32, first, last bool) {
	bit := map[bool]int{true: 1}
	perWord := 4 / y.DType.Size()
	pieces(r, "weightedsum", y.Rows, max(1, rowGroup*maxGroups*perWord/y.Cols), func(begin, end int) {
		n := (end - begin) * y.Cols
		dispatch(r, "weightedsum"+suffix(y.DType), spec("WORKGROUP", rowGroup), [3]int{ceilDiv(n, rowGroup*perWord), 1, 1},
			push("n", n, "weight", weight, "first", bit[first], "last", bit[last]), float64(12*n), vk.In(x.RowRange(begin, end).View),
			vk.InOut(scratch.RowRange(begin, end).View), vk.InOut(y.RowRange(begin, end).View))
	}, scratch.RowBytes(), y.RowBytes())
}
