package op

import "github.com/vkcome/vkcome/vk"

// CosineLoss records loss[t] = scale·(1 − cos(ŷ[t], y[t])) and its gradient by ŷ, scale·(cos·ŷ/|ŷ| − y/|y|)/|ŷ|. A row of
// zeros, or one that is not finite, has no direction: its loss and gradient are 0.
//
//	loss     [1, rows]     F32
//	grad     [rows, cols]  F32; may be yhat, may be absent
//	yhat, y  [rows, cols]  F32
func CosineLoss(r *vk.Recorder, loss, grad, yhat, y Tensor, scale float32) {
	if check(r, "cosineloss", y.Is(yhat.Rows, yhat.Cols) && words(y) && lossOf(r, loss, grad, yhat), loss, grad, yhat, y) {
		lossKernel{"cosineloss", 4, 0b11, 20}.record(r, loss, grad, yhat, y.RowRange, "scale", scale)
	}
}
