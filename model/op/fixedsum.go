package op

import "github.com/vkcome/vkcome/vk"

// FixedBits says what the integers of FixedSum count: units of 2^-FixedBits.
const FixedBits = 80

const fixedTerms = 234 << 8 // of one dispatch: within vk.LoopLimit, and a multiple of any offset alignment

// FixedSum records sum[i] += Σ_p x[p,i] in integers of 128 bits and units of 2^-80, without rounding: the order of terms, and how they
// are spread over calls, changes nothing.
//
//	sum  [count, 4]  32-bit words as F32, the lowest first, in two's complement
//	x    [terms, n]  F32, n at least count: what is behind is not read; n is a multiple of 64 where x outgrows a binding
//	bad  [1, 1]      a 32-bit word as F32: becomes 1, the integer, where a term is not finite or not below 2^46, or a sum not below 2^47;
//	                 otherwise it stays as it is
//
// Bits of a term below 2^-80 are cut off.
func FixedSum(r *vk.Recorder, sum, x, bad Tensor) {
	if !check(r, "fixedsum", x.Elements() > 0 && sum.Rows > 0 && sum.Cols == 4 && sum.Rows <= x.Cols && bad.Is(1, 1) && words(sum, x, bad), sum, x, bad) {
		return
	}
	most := fixedTerms
	if x.Size() > r.Device().Limits().StorageRange {
		most = 1 // and of that what can be bound
	}
	for p := 0; p < x.Rows; p += most {
		terms := x.RowRange(p, min(x.Rows, p+most))
		pieces(r, "fixedsum", sum.Rows, rowGroup*maxGroups, func(begin, end int) {
			from, first := terms, begin
			if from.Rows == 1 {
				from, first = from.Reshape(x.Cols, 1).RowRange(begin, end).Reshape(1, end-begin), 0
			}
			dispatch(r, "fixedsum", spec("WORKGROUP", rowGroup), [3]int{ceilDiv(end-begin, rowGroup), 1, 1},
				push("count", end-begin, "first", first, "terms", from.Rows, "stride", x.Cols), float64((end-begin)*(32+16*from.Rows)),
				vk.In(from.View), vk.InOut(sum.RowRange(begin, end).View), vk.Out(bad.View))
		}, 4*4, 4)
	}
}
