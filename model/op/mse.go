package op

import "github.com/vkcome/vkcome/vk"

// MSE records the squared distance of rows and its gradient by ŷ: loss[t] = scale·Σ_i (ŷ[t,i] − y[t,i])², grad = 2·scale·(ŷ − y).
// With a scale of 1/(rows·cols) the losses add up to the mean squared error.
//
//	loss     [1, rows]     F32
//	grad     [rows, cols]  F32; may be yhat, may be absent
//	yhat, y  [rows, cols]  F32
func MSE(r *vk.Recorder, loss, grad, yhat, y Tensor, scale float32) {
	if check(r, "mse", y.Is(yhat.Rows, yhat.Cols) && words(y) && lossOf(r, loss, grad, yhat), loss, grad, yhat, y) {
		lossKernel{"mse", 4, 0b11, 12}.record(r, loss, grad, yhat, y.RowRange, "scale", scale)
	}
}

const maxLossCols = 1 << 20 // 3 passes by 64 invocations: within vk.LoopLimit

// lossOf reports whether the tensors of a loss of rows and of its gradient agree.
func lossOf(r *vk.Recorder, loss, grad, yhat Tensor) bool {
	return yhat.Elements() > 0 && loops(r.Device(), yhat.Cols, maxLossCols) && words(yhat, loss) && loss.Is(1, yhat.Rows) &&
		(grad.IsZero() || grad.Is(yhat.Rows, yhat.Cols) && words(grad))
}

// lossKernel is a kernel of a loss of rows. Its bindings are ŷ, the target, loss and grad, and its push constants the columns, the
// first row, the rows, and those of the loss.
type lossKernel struct {
	shader string
	texel  int     // the variant with texel buffers takes so many columns in an iteration, in at most 3 passes
	texels uint32  // the bindings that are texel buffers there
	work   float64 // of an element
}

// record gives every row a workgroup, or on a CPU's driver an invocation. target is what rows [begin, end) bind of the target.
func (k lossKernel) record(r *vk.Recorder, loss, grad, yhat Tensor, target func(begin, end int) Tensor, params ...any) {
	d := r.Device()
	s, group, perGroup := vk.Source{Name: k.shader}, longGroup(d, yhat.Cols), 1
	switch l := d.Limits(); {
	case texelLoads(d) && l.StorageRange <= l.TexelBuffer && yhat.Cols%k.texel == 0 && yhat.Cols/k.texel <= 1<<14:
		s.Name, s.Texels, group, perGroup = k.shader+"_texels", k.texels, cpuLanes, cpuLanes
	case yhat.Cols >= 1<<15:
		group = max(group, rowGroup)
	}
	special := spec("WORKGROUP", group, "GRAD", !grad.IsZero())
	if s.Texels == 0 {
		special = special.with(byFour(yhat.Cols)...)
	}
	pieces(r, k.shader, yhat.Rows, maxGroups, func(begin, end int) {
		part, to := yhat.RowRange(begin, end), loss // something to bind where there is no gradient
		if !grad.IsZero() {
			to = grad.RowRange(begin, end)
		}
		dispatchSource(r, s, special, [3]int{ceilDiv(end-begin, perGroup), 1, 1}, push(append([]any{"cols", yhat.Cols, "first", begin, "rows", end - begin}, params...)...),
			k.work*float64(part.Elements()), vk.In(part.View), vk.In(target(begin, end).View), vk.Out(loss.View), vk.Out(to.View))
	}, yhat.RowBytes())
}
