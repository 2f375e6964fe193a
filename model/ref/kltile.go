package ref

// Divergence is what the logits of two models say of one token, in nats.
type Divergence struct {
	KL           float64 // of softmax(model) from softmax(base)
	BaseNLL, NLL float64 // of the target; 0 where there is none
	BaseTop, Top int     // the largest logit of the base, and of the model; the first of equals
}

// Divergences compares the logits of a model with those of its base.
//
//	base, model [tokens, vocab] · targets [tokens], negative where there is none · result [tokens]
func Divergences(base, model Mat, targets []int) []Divergence {
	kl, _ := KLDivergence(model, base, 1, 1)
	p, q := CrossEntropy(base, targets), CrossEntropy(model, targets)
	all := make([]Divergence, len(targets))
	for t := range all {
		all[t] = Divergence{kl[t], p[t], q[t], argmax(base.Row(t)), argmax(model.Row(t))}
	}
	return all
}
