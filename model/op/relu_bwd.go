package op

import "github.com/vkcome/vkcome/vk"

// ReLUBackward records what ReLU passes back: dx = dy where y > 0, else 0.
//
//	dx, dy, y  [rows, cols]  F32; y is what ReLU read or what it wrote; dx may be dy or y
func ReLUBackward(r *vk.Recorder, dx, dy, y Tensor) { elementwise(r, "relu_bwd", 12, dx, dy, y) }
