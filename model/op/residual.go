package op

import "github.com/vkcome/vkcome/vk"

// Double is a matrix of float64 as two of F32, whose sum it is.
type Double struct{ High, Low Tensor }

const residualRows = 4 // of y, for an invocation

// Residual records y = x·w − c to about 2^-32 of the terms: what iterative refinement needs of a solution that is nearly right.
//
//	y  [rows, cols]        F32
//	x  [panels·rows, 128]  F32: the columns of a matrix [rows, 128·panels], 128 after 128
//	w  [128·panels, cols]
//	c  [rows, cols]
//
// cols is a multiple of 4.
func Residual(r *vk.Recorder, y, x Tensor, w, c Double) {
	const panel = CholeskyBlock
	ok := y.Elements() > 0 && y.Cols%4 == 0 && x.Rows > 0 && x.Cols == panel && x.Rows%y.Rows == 0 && words(y, x, w.High, w.Low, c.High, c.Low)
	for _, t := range []Tensor{w.High, w.Low} {
		ok = ok && t.Is(x.Rows/max(1, y.Rows)*panel, y.Cols)
	}
	ok = ok && c.High.Is(y.Rows, y.Cols) && c.Low.Is(y.Rows, y.Cols) && loops(r.Device(), w.High.Rows, fixedTerms)
	if !check(r, "residual", ok, y, x, w.High, w.Low, c.High, c.Low) {
		return
	}
	group := int(reduceGroup(r.Device()))
	variant, texels := "residual", uint32(0)
	if texelLoads(r.Device()) {
		variant, texels = "residual_texels", 0b111
	}
	dispatchTexels(r, variant, texels, spec("WORKGROUP", group, "PANEL", panel, "ROWS", residualRows), [3]int{ceilDiv(y.Cols/4, group), ceilDiv(y.Rows, residualRows), 1},
		push("rows", y.Rows, "cols", y.Cols, "depth", w.High.Rows), 10*float64(y.Rows)*float64(w.High.Elements()),
		vk.In(x.View), vk.In(w.High.View), vk.In(w.Low.View), vk.In(c.High.View), vk.In(c.Low.View), vk.Out(y.View))
}
