package ref

import (
	"math"
	"slices"
)

// FitTarget gives by how much what a layer's last projection gives is to change, e = (y − out)·scale, and what a token counts,
// w = 1/‖y‖², 0 for a y of zeros.
//
//	out, y, e [tokens, hidden] · w [tokens]
func FitTarget(out, y Mat, scale float64) (e Mat, w []float64) {
	check(out.shape() == y.shape(), "fittarget", out.shape(), y.shape())
	e, w = NewMat(y.Rows, y.Cols), make([]float64, y.Rows)
	for t := range y.Rows {
		for i, v := range y.Row(t) {
			e.Row(t)[i] = (v - out.At(t, i)) * scale
		}
		if squares := view(y.Row(t)).LenSqr(); squares > 0 {
			w[t] = 1 / squares
		}
	}
	return e, w
}

// FitTargetNormed is FitTarget where out = r + g·z/rms(z): e is what z lacks while its rms stays, e·rms(z)/g, 0 where g is 0, and w is
// 1/(‖y‖·rms(z))².
//
//	z [tokens, hidden] · g [hidden]
func FitTargetNormed(out, y, z Mat, g []float64, scale, eps float64) (e Mat, w []float64) {
	check(z.shape() == y.shape() && len(g) == y.Cols, "fittarget", z.shape(), y.shape(), len(g))
	e, w = FitTarget(out, y, scale)
	for t := range y.Rows {
		squares := view(z.Row(t)).LenSqr()/float64(z.Cols) + eps
		for i, by := range g {
			if by == 0 {
				e.Row(t)[i] = 0
			} else {
				e.Row(t)[i] *= math.Sqrt(squares) / by
			}
		}
		if squares > 0 {
			w[t] /= squares
		}
	}
	return e, w
}

// Lack runs a layer on x and gives its Taps and what FitTarget makes of what it gives and y, behind the norm of its MLP where it has one.
//
//	x, y, e [tokens, hidden] · w [tokens] · z [tokens, hidden], what the down projection gives; of experts nothing
func (l *Layer) Lack(c Config, x, y Mat) (t Taps, z, e Mat, w []float64) {
	out, t := l.Forward(c, x)
	scale := 1.0
	if c.ResidualScale != 0 {
		scale = 1 / c.ResidualScale
	}
	if l.Router.Rows == 0 {
		z = Linear(t.FFN, l.Down, l.DownBias)
	}
	if l.FFNNorm == nil {
		e, w = FitTarget(out, y, scale)
		return t, z, e, w
	}
	g := slices.Clone(l.FFNNorm)
	for i := range g {
		if c.PlusOne {
			g[i]++
		}
	}
	e, w = FitTargetNormed(out, y, z, g, scale, c.Eps)
	return t, z, e, w
}
