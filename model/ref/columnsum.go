package ref

import "math"

// ColumnSum gives Σ_i x[i,j] for every column j.
//
//	x [rows, cols] · result [cols]
func ColumnSum(x Mat) []float64 {
	sums := make([]float64, x.Cols)
	for i := range x.Rows {
		view(x.Row(i)).Add(view(sums), view(sums))
	}
	return sums
}

// ColumnAbsDot gives Σ_i |w[i,j]·g[i,j]| for every column j of a weight and its gradient.
//
//	w, g [rows, cols] · result [cols]
func ColumnAbsDot(w, g Mat) []float64 {
	check(w.shape() == g.shape(), "columnabsdot", w.shape(), g.shape())
	sums := make([]float64, w.Cols)
	for i, v := range w.Data {
		sums[i%w.Cols] += math.Abs(v * g.Data[i])
	}
	return sums
}
