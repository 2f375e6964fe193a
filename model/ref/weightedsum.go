package ref

import "github.com/go-gl/mathgl/mgl64"

// WeightedSum gives Σ_i r[i]·ws[i] of matrices of one shape.
func WeightedSum(ws []Mat, r []float64) Mat {
	check(len(ws) == len(r), "weightedsum", len(ws), len(r))
	sum := NewMat(ws[0].Rows, ws[0].Cols)
	scaled := mgl64.NewVecN(len(sum.Data))
	for i, w := range ws {
		check(w.shape() == sum.shape(), "weightedsum", w.shape(), sum.shape())
		view(sum.Data).Add(view(sum.Data), view(w.Data).Mul(scaled, r[i]))
	}
	return sum
}
