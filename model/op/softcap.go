package op

import "github.com/vkcome/vkcome/vk"

// Logits is what becomes of products with the LM head. The zero value leaves them as they are.
type Logits struct {
	Scale float32 // that they are multiplied by; 0 is 1
	Cap   float32 // they become Cap·tanh(these/Cap) after that; 0: they do not
}

// scale is the factor.
func (l Logits) scale() float32 {
	if l.Scale == 0 {
		return 1
	}
	return l.Scale
}

// IsZero says that there is nothing to do.
func (l Logits) IsZero() bool { return l.scale() == 1 && l.Cap == 0 }

// SoftCap records y = Scale·x, and Cap·tanh(that/Cap) where there is a cap, element by element.
//
//	y, x  [rows, cols]  F32; y may be x
//
// Source: Gemma Team 2024, arXiv 2408.00118, section 2.
func SoftCap(r *vk.Recorder, y, x Tensor, l Logits) {
	elementwiseWith(r, "softcap", 20, spec("CAPPED", l.Cap != 0), push("scale", l.scale(), "cap", l.Cap), []Tensor{y}, x)
}

// Scale records y = s·x, element by element.
//
//	y, x  [rows, cols]  F32; y may be x
func Scale(r *vk.Recorder, y, x Tensor, s float32) { SoftCap(r, y, x, Logits{Scale: s}) }

// Record records what becomes of products, in place.
func (l Logits) Record(r *vk.Recorder, x Tensor) {
	if !l.IsZero() {
		SoftCap(r, x, x, l)
	}
}
