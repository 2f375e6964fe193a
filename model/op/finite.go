package op

import "github.com/vkcome/vkcome/vk"

// NonFinite records counts[slot] += the number of elements of x that are NaN or infinite.
//
//	counts  [1, n]        32-bit words, which the caller sets to zero first
//	x       [rows, cols]  any dtype
func NonFinite(r *vk.Recorder, counts Tensor, slot int, x Tensor) {
	if !check(r, "nonfinite", x.Elements() > 0 && words(counts) && counts.Rows == 1 && slot >= 0 && slot < counts.Cols, counts, x) {
		return
	}
	const unit = 256 // bytes, as any device's offset alignment; rows do not matter here
	invocations := largeGroup(r.Device())
	group := 4 * 16 * invocations // bytes a workgroup counts
	pieces(r, "nonfinite", ceilDiv(int(x.Size()), unit), maxGroups*group/unit, func(begin, end int) {
		at := int64(begin) * unit
		part := x.View.Slice(at, min(int64(end)*unit, x.Size())-at)
		n := int(part.Size())
		dispatch(r, "finite"+suffix(x.DType), spec("WORKGROUP", invocations), [3]int{ceilDiv(n, group), 1, 1}, push("elements", n/x.DType.Size(), "slot", slot), float64(n),
			vk.In(part), vk.InOut(counts.View))
	}, unit)
}
