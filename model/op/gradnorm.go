package op

import "github.com/vkcome/vkcome/vk"

const (
	ControlWords = 8         // floats of the tensor that tells a step's fate, see GradNorm
	gradBlock    = 1024      // elements of a partial sum in gradnorm.comp
	mostPartials = 1<<16 - 1 // of an invocation: within vk.LoopLimit
)

// GradNormScratch is the number of floats that GradNorm needs for its partial sums.
func GradNormScratch(grads ...Tensor) int {
	n := 0
	for _, g := range grads {
		n += ceilDiv(g.Elements(), gradBlock)
	}
	return n
}

// GradNorm records the fate of a step: the Euclidean norm over all gradients together, and what AdamW is to make of it.
//
//	control  [1, 8]        F32; [0], which is read, is the loss of the step, as SumLoss leaves it
//	                       [1] becomes the norm, before clipping
//	                       [2] the factor of the gradients: min(1, clip/norm), 1 where clip is 0; 0 where the step is skipped
//	                       [3] 0; or that the step is skipped: 1 where the loss or the norm is not finite, 2 where the norm is 0
//	scratch  [1, n]        F32, n at least GradNormScratch(grads...)
//	grads    [rows, cols]  F32, of any shapes
//
// The squares of the gradients must be within f32: those below 1e-23 count as zero, those above 1e19 as infinite.
func GradNorm(r *vk.Recorder, control, scratch Tensor, clip float32, grads ...Tensor) {
	if len(grads) == 0 || GradNormScratch(grads...) > scratch.Cols {
		check(r, "gradnorm", false, append([]Tensor{control, scratch}, grads...)...)
		return
	}
	first := 0
	for _, g := range grads {
		GradNormPart(r, scratch, first, g)
		first += GradNormScratch(g)
	}
	GradNormTotal(r, control, scratch, first, clip)
}

// GradNormPart records what one of GradNorm's gradients, whose predecessors take the first partial sums, leaves in the scratch: for gradients
// that are not on the device together.
func GradNormPart(r *vk.Recorder, scratch Tensor, first int, g Tensor) {
	elements := g.Elements()
	ok := words(scratch, g) && elements > 0 && first >= 0 && scratch.Rows == 1 && scratch.Cols >= first+GradNormScratch(g)
	if !check(r, "gradnorm", ok, scratch, g) {
		return
	}
	d := r.Device()
	pieces(r, "gradnorm", ceilDiv(elements, gradBlock), maxGroups, func(begin, end int) {
		part := g.Reshape(elements, 1).RowRange(begin*gradBlock, min(elements, end*gradBlock))
		variant, texels := "gradnorm", uint32(0)
		if quadTexels(d, part) {
			variant, texels = "gradnorm_texels", 1
		}
		dispatchTexels(r, variant, texels, spec("WORKGROUP", reduceGroup(d)), [3]int{end - begin, 1, 1}, push("count", part.Rows, "first", first+begin), float64(part.Size()),
			vk.In(part.View), vk.Out(scratch.View))
	}, 4*gradBlock)
}

// GradNormTotal records the rest of GradNorm: what the first n partial sums come to.
func GradNormTotal(r *vk.Recorder, control, scratch Tensor, n int, clip float32) {
	group := largeGroup(r.Device()) // that adds up the partial sums
	ok := n > 0 && loops(r.Device(), n, mostPartials*group) && words(control, scratch) && control.Is(1, ControlWords) && scratch.Rows == 1 && scratch.Cols >= n && clip >= 0
	if !check(r, "gradnorm", ok, control, scratch) {
		return
	}
	dispatch(r, "gradnorm_total", spec("WORKGROUP", group), [3]int{1, 1, 1}, push("n", n, "clip", clip), float64(4*n), vk.In(scratch.View), vk.InOut(control.View))
}
