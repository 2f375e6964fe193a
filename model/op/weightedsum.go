package op

import "github.com/vkcome/vkcome/vk"

// WeightedSum records y = Σ weights[i]·xs[i], added up in the order of xs in f32 and rounded once, to nearest even, in y's dtype.
//
//	y, xs[i]  [rows, cols]  any dtype, the same
//	scratch   [rows, cols]  F32
func WeightedSum(r *vk.Recorder, y, scratch Tensor, xs []Tensor, weights []float32) {
	ok := y.Elements() > 0 && words(scratch) && len(xs) > 0 && len(xs) == len(weights) && scratch.Is(y.Rows, y.Cols)
	for _, x := range xs {
		ok = ok && x.Is(y.Rows, y.Cols) && x.DType == y.DType
	}
	if !check(r, "weightedsum", ok, append([]Tensor{y, scratch}, xs...)...) {
		return
	}
	for i, x := range xs {
		weightedTerm(r, y, scratch, x, weights[i], i == 0, i == len(xs)-1)
	}
}

// WeightedTerm records one term of WeightedSum, the first of which makes scratch and the last y, for terms that are not on the device
// together. The bits are the same.
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
		dispatch(r, "weightedsum"+suffix(y.DType), []uint32{rowGroup}, [3]int{ceilDiv(n, rowGroup*perWord), 1, 1},
			push("n", n, "weight", weight, "first", bit[first], "last", bit[last]), float64(12*n), vk.In(x.RowRange(begin, end).View),
			vk.InOut(scratch.RowRange(begin, end).View), vk.InOut(y.RowRange(begin, end).View))
	}, scratch.RowBytes(), y.RowBytes())
}
