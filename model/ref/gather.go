package ref

// GatherRows copies the rows idx of w, in the order of idx.
//
//	w [rows, cols] · result [len(idx), cols]
func GatherRows(w Mat, idx []int) Mat {
	y := NewMat(len(idx), w.Cols)
	for i, from := range idx {
		copy(y.Row(i), w.Row(from))
	}
	return y
}

// GatherCols copies the columns idx of w, in the order of idx.
//
//	w [rows, cols] · result [rows, len(idx)]
func GatherCols(w Mat, idx []int) Mat {
	y := NewMat(w.Rows, len(idx))
	for r := range w.Rows {
		for i, from := range idx {
			y.Row(r)[i] = w.Row(r)[from]
		}
	}
	return y
}

// ConcatRows stacks matrices of equal width.
func ConcatRows(ms ...Mat) Mat {
	y := Mat{Cols: ms[0].Cols}
	for _, m := range ms {
		check(m.Cols == y.Cols, "concat rows", ms[0].shape(), m.shape())
		y.Rows += m.Rows
		y.Data = append(y.Data, m.Data...)
	}
	return y
}

// ConcatCols puts matrices of equal height side by side.
func ConcatCols(ms ...Mat) Mat {
	width := 0
	for _, m := range ms {
		check(m.Rows == ms[0].Rows, "concat columns", ms[0].shape(), m.shape())
		width += m.Cols
	}
	y := NewMat(ms[0].Rows, width)
	for r := range y.Rows {
		row := y.Row(r)
		for _, m := range ms {
			row = row[copy(row, m.Row(r)):]
		}
	}
	return y
}
