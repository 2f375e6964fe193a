package op

import "github.com/vkcome/vkcome/vk"

// SwiGLUBackward records what SwiGLU's y = silu(gate) · up passes back: dup = dy · silu(gate) and dgate = dy · up · silu′(gate),
// silu′(z) = σ(z)·(1 + z·(1 − σ(z))), σ(z) = 1/(1 + e^−z); with gelu of that in place of silu.
//
//	dgate, dup, dy, gate, up  [rows, cols]  F32; each of dgate and dup may be any of dy, gate and up, but not the same
//
// Source: Shazeer 2020, arXiv 2002.05202.
func SwiGLUBackward(r *vk.Recorder, dgate, dup, dy, gate, up Tensor, gelu bool) {
	if check(r, "swiglu_bwd", dgate.View != dup.View, dgate, dup, dy, gate, up) {
		elementwiseWith(r, "swiglu_bwd", 20, spec("GELU", gelu), pushed{}, []Tensor{dgate, dup}, dy, gate, up)
	}
}
