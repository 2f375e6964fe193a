package ref

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// Ridge gives the D that minimises Σ_t w_t ‖D·a_t − e_t‖² + λ·m·‖D‖², with m the mean of Σ_t w_t a_t[i]² over the inputs i, by a
// Cholesky factorization of the normal equations; ok is false where they have none. With bias there is one more input that is always
// 1, whose column of D is the last, and which does not count in m. loss is the sum without the term in λ.
//
//	a [tokens, in] · e [tokens, out] · w [tokens] · D [out, in], or [out, in+1]
func Ridge(a, e Mat, w []float64, lambda float64, bias bool) (d Mat, loss float64, ok bool) {
	check(a.Rows == e.Rows && len(w) == a.Rows, "ridge", a.shape(), e.shape(), len(w))
	n := a.Cols
	if bias {
		n++
	}
	scaled := mat.NewDense(a.Rows, n, nil)
	wanted := mat.NewDense(a.Rows, e.Cols, nil)
	for t, wt := range w {
		for i := range n {
			v := 1.0
			if i < a.Cols {
				v = a.At(t, i)
			}
			scaled.Set(t, i, math.Sqrt(wt)*v)
		}
		for o := range e.Cols {
			wanted.Set(t, o, math.Sqrt(wt)*e.At(t, o))
		}
	}
	g := mat.NewSymDense(n, nil)
	g.SymOuterK(1, scaled.T())
	m := 0.0
	for i := range a.Cols {
		m += g.At(i, i) / float64(a.Cols)
	}
	for i := range n {
		g.SetSym(i, i, g.At(i, i)+lambda*m)
	}
	var c, x mat.Dense
	c.Mul(scaled.T(), wanted)
	var factor mat.Cholesky
	if !factor.Factorize(g) || factor.SolveTo(&x, &c) != nil {
		return Mat{}, 0, false
	}
	d = NewMat(e.Cols, n)
	for o := range d.Rows {
		for i := range n {
			d.Row(o)[i] = x.At(i, o)
		}
	}
	return d, RidgeLoss(a, e, w, d), true
}

// RidgeLoss gives Σ_t w_t ‖D·a_t − e_t‖² for any D.
//
//	a [tokens, in] · e [tokens, out] · w [tokens] · D [out, in], or [out, in+1] with a last column for an input of 1
func RidgeLoss(a, e Mat, w []float64, d Mat) (loss float64) {
	check(a.Rows == e.Rows && len(w) == a.Rows && d.Rows == e.Cols && (d.Cols == a.Cols || d.Cols == a.Cols+1), "ridge", a.shape(), e.shape(), d.shape())
	for t, wt := range w {
		for o, v := range e.Row(t) {
			row := d.Row(o)
			for i, x := range a.Row(t) {
				v -= row[i] * x
			}
			if d.Cols > a.Cols {
				v -= row[a.Cols]
			}
			loss += wt * v * v
		}
	}
	return loss
}
