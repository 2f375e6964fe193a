package op

import "github.com/vkcome/vkcome/vk"

// Zero records x = 0.
//
//	x  [rows, cols]  F32
func Zero(r *vk.Recorder, x Tensor) {
	if check(r, "zero", x.Elements() > 0 && words(x), x) {
		r.Fill(x.View, 0)
	}
}
