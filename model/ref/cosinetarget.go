package ref

import "math"

// CosineTarget gives, of states out that should have the direction of y, e = (c·y − out)·scale with c = ‖out‖/(‖y‖·k) and
// k = max(cos(out, y), 0.1), and the weight of each token, w = k/‖out‖²; both 0 where out or y is 0.
//
//	out, y, e [tokens, hidden] · w [tokens]
func CosineTarget(out, y Mat, scale float64) (e Mat, w []float64) {
	check(out.shape() == y.shape(), "cosinetarget", out.shape(), y.shape())
	e, w = NewMat(y.Rows, y.Cols), make([]float64, y.Rows)
	for t := range y.Rows {
		a, b := view(out.Row(t)), view(y.Row(t))
		al, bl := math.Sqrt(a.LenSqr()), math.Sqrt(b.LenSqr())
		if al == 0 || bl == 0 {
			continue
		}
		k := max(a.Dot(b)/(al*bl), 0.1)
		for i, v := range y.Row(t) {
			e.Row(t)[i] = (al/(bl*k)*v - out.At(t, i)) * scale
		}
		w[t] = k / (al * al)
	}
	return e, w
}
