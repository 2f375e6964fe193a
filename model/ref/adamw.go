package ref

import "math"

// AdamW is the optimizer of Loshchilov & Hutter 2019, arXiv 1711.05101, with the state of one tensor.
type AdamW struct {
	LR, Beta1, Beta2, Eps, Decay float64
	Step                         int       // taken so far
	M, V                         []float64 // the moments
}

// Update takes a step: it changes w, by the gradient g.
func (a *AdamW) Update(w, g []float64) {
	if a.Step == 0 {
		a.M, a.V = make([]float64, len(w)), make([]float64, len(w))
	}
	check(len(g) == len(w) && len(a.M) == len(w), "adamw", len(w), len(g), len(a.M))
	a.Step++
	for i, g := range g {
		a.M[i] = a.Beta1*a.M[i] + (1-a.Beta1)*g
		a.V[i] = a.Beta2*a.V[i] + (1-a.Beta2)*g*g
		mean := a.M[i] / (1 - math.Pow(a.Beta1, float64(a.Step)))
		square := a.V[i] / (1 - math.Pow(a.Beta2, float64(a.Step)))
		w[i] -= a.LR * (mean/(math.Sqrt(square)+a.Eps) + a.Decay*w[i])
	}
}
