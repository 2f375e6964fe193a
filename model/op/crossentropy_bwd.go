package op

import "github.com/vkcome/vkcome/vk"

// CrossEntropyBackward records the cross-entropy in nats, loss[t] = scale·(log Σ exp(logits[t]) − logits[t, target]), and its gradient
// by the logits, scale·(softmax(logits[t]) − onehot(target)). Both are 0 where unscored.
//
//	loss     [1, rows]     F32
//	grad     [rows, cols]  F32; may be logits, may be absent
//	logits   [rows, cols]  F32
//	targets  [1, rows]     32-bit words, all ones where unscored
func CrossEntropyBackward(r *vk.Recorder, loss, grad, logits, targets Tensor, scale float32) {
	if !check(r, "crossentropy_bwd", targets.Is(1, logits.Rows) && words(targets) && lossOf(r, loss, grad, logits), loss, grad, logits, targets) {
		return
	}
	all := func(begin, end int) Tensor { return targets }
	lossKernel{"crossentropy_bwd", 16, 0b1, 30}.record(r, loss, grad, logits, all, "scale", scale)
}
