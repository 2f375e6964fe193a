package op

import (
	"fmt"

	"github.com/vkcome/vkcome/vk"
)

// KLDivergence records loss[t] = scale·τ²·KL(p‖q) of p = softmax(y[t]/τ) and q = softmax(ŷ[t]/τ), and its gradient by ŷ,
// scale·τ·(q − p). Where ŷ is near y the result is as precise as elsewhere.
//
//	loss     [1, rows]     F32
//	grad     [rows, cols]  F32; may be yhat, may be absent
//	yhat, y  [rows, cols]  F32, finite
//
// Source: Hinton, Vinyals & Dean 2015, arXiv 1503.02531.
func KLDivergence(r *vk.Recorder, loss, grad, yhat, y Tensor, scale, tau float32) {
	if !check(r, "kl", y.Is(yhat.Rows, yhat.Cols) && words(y) && lossOf(r, loss, grad, yhat), loss, grad, yhat, y) {
		return
	}
	if !(tau > 0) {
		r.Fail(fmt.Errorf("op kl: temperature %v, must be positive", tau))
		return
	}
	lossKernel{"kl", 16, 0b11, 60}.record(r, loss, grad, yhat, y.RowRange, "inverse_tau", 1/tau, "loss_scale", scale*tau*tau, "grad_scale", scale*tau)
}
