package ref

import (
	"math"

	"github.com/go-gl/mathgl/mgl64"
)

// BlockInfluence gives 1 − clamp(cos(x[t], y[t]), 0, 1) for every token; a NaN cosine (a row of zeros) counts as 0.5.
// Source: ShortGPT, arXiv 2403.03853.
//
//	x, y [tokens, hidden] · result [tokens]
func BlockInfluence(x, y Mat) []float64 {
	bi := cosines(x, y)
	for t, c := range bi {
		bi[t] = 1 - c
	}
	return bi
}

// AngularDistance gives arccos(clamp(cos(x[t], y[t]), 0, 1))/π for every token: from 0, parallel, to 0.5, orthogonal or
// further apart; a NaN cosine counts as 0.5, a distance of 1/3.
//
//	x, y [tokens, hidden] · result [tokens]
func AngularDistance(x, y Mat) []float64 {
	d := cosines(x, y)
	for t, c := range d {
		d[t] = math.Acos(c) / math.Pi
	}
	return d
}

func cosines(x, y Mat) []float64 {
	check(x.shape() == y.shape(), "cosine", x.shape(), y.shape())
	cos := make([]float64, x.Rows)
	for t := range cos {
		a, b := view(x.Row(t)), view(y.Row(t))
		c := a.Dot(b) / (a.Len() * b.Len())
		if math.IsNaN(c) {
			c = 0.5
		}
		cos[t] = mgl64.Clamp(c, 0, 1)
	}
	return cos
}
