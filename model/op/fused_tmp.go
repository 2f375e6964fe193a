package op

import "github.com/vkcome/vkcome/vk"

// Fused is what a linear layer does besides y = x·wᵀ. The zero value is nothing.
type Fused struct {
	Bias     Tensor // [1, out], w's dtype, added
	Up       Tensor // [out, in]: SwiGLU: y = silu(x·wᵀ + Bias) · (x·Upᵀ + UpBias); w is the gate
	UpBias   Tensor
	Residual Tensor // [tokens, out] F32, added; may be y
	Norm     Tensor // [1, in], any dtype: x is first divided by its root mean square and multiplied by this
	Eps      float32
	Scratch  Tensor // [tokens, in] F32 or larger: where kernels that cannot norm as they go put the normed x; needed with Norm
}

func LinearFused(r *vk.Recorder, y, x, w Tensor, f Fused) {
	if !linearCPU(r, y, x, w, f) {
		panic("no")
	}
}
