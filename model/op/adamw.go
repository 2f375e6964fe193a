package op

import (
	"fmt"
	"math"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// AdamWParams are those of a step of AdamW.
type AdamWParams struct {
	LR, Beta1, Beta2 float32
	Eps              float32 // positive
	Decay            float32 // of the weights, decoupled: a step takes LR·Decay of a weight away
	Step             int     // from 1 on, for the correction of the moments' bias
	First            int     // the number of the first element in the tensor that these are a part of, for the rounding of BF16 moments
}

// AdamW records a step of AdamW on the weights master, of which w is the copy that the forward pass reads:
//
//	g = grad·control[2],  m = β1·m + (1 − β1)·g,  v = β2·v + (1 − β2)·g²
//	master −= LR·(m/(1 − β1^Step) / (√(v/(1 − β2^Step)) + eps) + Decay·master),  w = master to nearest even in w's dtype
//
// Where GradNorm has set control[3] nothing changes. Moments in BF16 are rounded up or down at random, so that what many steps add to them is
// right on average: by a hash of step and element, so the same each time.
//
//	w             [rows, cols]  any dtype
//	master, grad  [rows, cols]  F32
//	m, v          [rows, cols]  F32 or BF16; zeros are the first
//	control       [1, 8]        F32, of GradNorm
//
// Source: Loshchilov & Hutter 2019, arXiv 1711.05101.
func AdamW(r *vk.Recorder, w, master, grad, m, v, control Tensor, p AdamWParams) {
	half := m.DType == dtype.BF16
	ok := w.Elements() > 0 && words(master, grad, control) && control.Is(1, ControlWords) && m.DType == v.DType && (half || words(m, v))
	for _, t := range []Tensor{master, grad, m, v} {
		ok = ok && t.Is(w.Rows, w.Cols)
	}
	if !check(r, "adamw", ok, w, master, grad, m, v, control) {
		return
	}
	if !(p.Eps > 0) || p.Step < 1 || p.First < 0 || !(p.Beta1 >= 0 && p.Beta1 < 1) || !(p.Beta2 >= 0 && p.Beta2 < 1) {
		r.Fail(fmt.Errorf("op adamw: %+v: eps must be positive, betas in [0, 1), step from 1 on", p))
		return
	}
	correction := func(beta float32) float32 { return float32(1 / (1 - math.Pow(float64(beta), float64(p.Step)))) }
	quads(r, "adamw", []Tensor{grad, master, m, v, w}, func(begin int, part []Tensor) {
		n := part[0].Elements()
		args := []vk.Arg{vk.In(control.View), vk.In(part[0].View)}
		for _, t := range part[1:] {
			args = append(args, vk.InOut(t.View))
		}
		s, special := vk.Source{Name: "adamw"}, spec("WORKGROUP", rowGroup)
		if !half && quadTexels(r.Device(), part[0]) {
			s.Name, s.Texels = "adamw_texels", 0b111000010
			for _, t := range part[1:4] {
				args = append(args, vk.In(t.View))
			}
		} else {
			special = special.with("HALF_MOMENTS", half)
		}
		s.Name += suffix(w.DType)
		dispatchSource(r, s, special, [3]int{ceilDiv(n, 4*rowGroup), 1, 1},
			push("count", n, "lr", p.LR, "beta1", p.Beta1, "beta2", p.Beta2, "c1", correction(p.Beta1), "c2", correction(p.Beta2), "eps", p.Eps, "decay", p.Decay, "first", uint32(p.First+begin), "steps", uint32(p.Step)), float64(32*n), args...)
	})
}
