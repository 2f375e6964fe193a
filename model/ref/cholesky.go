package ref

import "gonum.org/v1/gonum/mat"

// Cholesky gives the lower triangular L with L·Lᵀ = x; ok is false where x is not positive definite. Of x the lower triangle counts.
//
//	x, L [n, n]
func Cholesky(x Mat) (l Mat, ok bool) {
	check(x.Rows == x.Cols, "cholesky", x.shape())
	var c mat.Cholesky
	if !c.Factorize(symmetric(x)) {
		return Mat{}, false
	}
	l = NewMat(x.Rows, x.Cols)
	var lower mat.TriDense
	c.LTo(&lower)
	for i := range l.Rows {
		for j := range i + 1 {
			l.Row(i)[j] = lower.At(i, j)
		}
	}
	return l, true
}

// TriangularInverse gives the inverse of a lower triangular matrix.
//
//	l, result [n, n]
func TriangularInverse(l Mat) Mat {
	check(l.Rows == l.Cols, "triangularinverse", l.shape())
	y := NewMat(l.Rows, l.Cols)
	for c := range l.Cols {
		for i := c; i < l.Rows; i++ {
			sum := 0.0
			if i == c {
				sum = 1
			}
			for k := c; k < i; k++ {
				sum -= l.At(i, k) * y.At(k, c)
			}
			y.Row(i)[c] = sum / l.At(i, i)
		}
	}
	return y
}

// symmetric is the matrix whose lower triangle is x's.
func symmetric(x Mat) *mat.SymDense {
	s := mat.NewSymDense(x.Rows, nil)
	for i := range x.Rows {
		for j := range i + 1 {
			s.SetSym(i, j, x.At(i, j))
		}
	}
	return s
}
