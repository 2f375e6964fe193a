package op

import "github.com/vkcome/vkcome/vk"

// FixedBits says what the integers of FixedSum count: units of 2^-FixedBits.
const FixedBits = 80

const fixedTerms = 234 << 8 // of one dispatch: within vk.LoopLimit, and a multiple of any offset alignment

// FixedSum records sum[i] += Σ_p x[p,i], over p from begin to below end, in integers of 128 bits and units of 2^-80, without rounding: the
// order of terms, and how they are spread over calls, changes nothing.
//
//	sum  [count, 4]  32-bit words as F32, the lowest first, in two's complement
//	x    [terms, n]  F32, n at least count: what is behind is not read; n is a multiple of 64 where x outgrows a binding
//	bad  [1, 1]      a 32-bit word as F32: becomes 1, the integer, where a term is not finite or not below 2^46, or a sum not below 2^47;
//	                 otherwise it stays as it is
//
// Bits of a term below 2^-80 are cut off.
func FixedSum(r *vk.Recorder, sum, x, bad Tensor, begin, end int) {
	if !check(r, "fixedsum", x.Elements() > 0 && begin >= 0 && begin <= end && end <= x.Rows && sum.Rows > 0 && sum.Cols == 4 && sum.Rows <= x.Cols && bad.Is(1, 1) && words(sum, x, bad), sum, x, bad) {
		return
	}
	most := fixedTerms
	if x.Size() > r.Device().Limits().StorageRange {
		most = 1 // and of that what can be bound
	}
	align := r.Device().Limits().OffsetAlignment
	unit := int(align / gcd(align, x.RowBytes()))
	for p := begin; p < end; p += most {
		bound, last := p/unit*unit, min(end, p+most) // the first row that can be bound, at or before p
		terms, skipped := x.RowRange(bound, last), (p-bound)*x.Cols
		pieces(r, "fixedsum", sum.Rows, rowGroup*maxGroups, func(begin, end int) {
			from, first := terms, skipped+begin
			if from.Rows == 1 {
				from, first = from.Reshape(x.Cols, 1).RowRange(begin, end).Reshape(1, end-begin), 0
			}
			to := sum.RowRange(begin, end).View
			variant, texels, each := "fixedsum", uint32(0), 1
			if x.Cols%4 == 0 && first%4 == 0 && texelLoads(r.Device()) {
				variant, texels, each = "fixedsum_texels", 0b11, 4
			}
			dispatchTexels(r, variant, texels, spec("WORKGROUP", rowGroup), [3]int{ceilDiv(end-begin, rowGroup*each), 1, 1},
				push("count", end-begin, "first", first, "terms", last-p, "stride", x.Cols), float64((end-begin)*(32+16*(last-p))),
				vk.In(from.View), vk.In(to), vk.Out(to), vk.Out(bad.View))
		}, 4*4, 4)
	}
}
