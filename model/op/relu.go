package op

import "github.com/vkcome/vkcome/vk"

// ReLU records y = 0 where x < 0, else x: NaN stays NaN.
//
//	y, x  [rows, cols]  F32; y may be x
func ReLU(r *vk.Recorder, y, x Tensor) { elementwise(r, "relu", 8, y, x) }
