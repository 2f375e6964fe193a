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
	perWord := 4 / y.DType.Size()
	pieces(r, "weightedsum", y.Rows, max(1, rowGroup*maxGroups*perWord/y.Cols), func(begin, end int) {
		n := (end - begin) * y.Cols
		for i, x := range xs {
			first, last := 0, 0
			if i == 0 {
				first = 1
			}
			if i == len(xs)-1 {
				last = 1
			}
			dispatch(r, "weightedsum"+suffix(y.DType), []uint32{rowGroup}, [3]int{ceilDiv(n, rowGroup*perWord), 1, 1},
				push(n, weights[i], first, last), float64(12*n), vk.In(x.RowRange(begin, end).View),
				vk.InOut(scratch.RowRange(begin, end).View), vk.InOut(y.RowRange(begin, end).View))
		}
	}, scratch.RowBytes(), y.RowBytes())
}
