package ref

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
