package op

import "github.com/vkcome/vkcome/vk"

// SwiGLU records y = silu(gate) · up, element by element, silu(z) = z/(1 + e^−z); with gelu GELU by tanh, z/2·(1 + tanh(√(2/π)·(z + 0.044715·z³))),
// takes its place.
//
//	y, gate, up  [rows, cols]  F32; y may be gate or up
//
// Sources: Shazeer 2020, arXiv 2002.05202; Hendrycks & Gimpel 2016, arXiv 1606.08415.
func SwiGLU(r *vk.Recorder, y, gate, up Tensor, gelu bool) {
	elementwiseWith(r, "swiglu", 20, spec("GELU", gelu), pushed{}, []Tensor{y}, gate, up)
}
