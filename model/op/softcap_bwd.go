package op

import "github.com/vkcome/vkcome/vk"

// SoftCapBackward records what SoftCap passes back: dx = Scale · dy · (1 − (y/Cap)²), where there is no cap Scale · dy.
//
//	dx, dy, y  [rows, cols]  F32; dx may be dy or y. Without a cap y is not read and may be the zero Tensor
//
// Source: as SoftCap.
func SoftCapBackward(r *vk.Recorder, dx, dy, y Tensor, l Logits) {
	if l.Cap == 0 {
		SoftCap(r, dx, dy, l)
		return
	}
	elementwiseWith(r, "softcap_bwd", 8, specialized{}, push("scale", l.scale(), "cap", l.Cap), []Tensor{dx}, dy, y)
}
