package op

import "github.com/vkcome/vkcome/vk"

// SwiGLU records y = silu(gate) · up, element by element, silu(z) = z/(1 + e^−z).
//
//	y, gate, up  [rows, cols]  F32; y may be gate or up
//
// Source: Shazeer 2020, arXiv 2002.05202.
func SwiGLU(r *vk.Recorder, y, gate, up Tensor) { elementwise(r, "swiglu", 20, y, gate, up) }
