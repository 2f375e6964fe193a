package op

import "github.com/vkcome/vkcome/vk"

// AddScaled records y = residual + scale·x, element by element.
//
//	y, x, residual  [rows, cols]  F32; y may be x or residual
func AddScaled(r *vk.Recorder, y, x, residual Tensor, scale float32) {
	elementwiseWith(r, "addscaled", 16, specialized{}, push("scale", scale), []Tensor{y}, x, residual)
}
