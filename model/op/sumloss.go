package op

import "github.com/vkcome/vkcome/vk"

// SumLoss records total[slot] = Σ loss[t], or with accumulate total[slot] += Σ loss[t]. The order of the additions is fixed, and
// their roundings do not grow with the number of losses.
//
//	total  [1, n]     F32
//	loss   [1, rows]  F32
func SumLoss(r *vk.Recorder, total Tensor, slot int, loss Tensor, accumulate bool) {
	ok := loss.Elements() > 0 && loss.Rows == 1 && loops(r.Device(), loss.Cols, mostPartials*rowGroup) && words(total, loss) && total.Rows == 1 && slot >= 0 && slot < total.Cols
	if !check(r, "sumloss", ok, total, loss) {
		return
	}
	more := uint32(0)
	if accumulate {
		more = 1
	}
	dispatch(r, "sumloss", spec("WORKGROUP", rowGroup), [3]int{1, 1, 1}, push("n", loss.Cols, "slot", slot, "more", more), float64(4*loss.Cols), vk.In(loss.View), vk.InOut(total.View))
}
