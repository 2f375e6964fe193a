package ref

import (
	"fmt"

	"github.com/go-gl/mathgl/mgl64"
)

// Mat is a row-major matrix. A weight is [outputs, inputs], an activation [tokens, features].
type Mat struct {
	Rows, Cols int
	Data       []float64 // Rows·Cols elements
}

// NewMat gives a matrix of zeros.
func NewMat(rows, cols int) Mat {
	return Mat{rows, cols, make([]float64, rows*cols)}
}

// Row is row i itself, not a copy.
func (m Mat) Row(i int) []float64 {
	return m.Data[i*m.Cols : (i+1)*m.Cols : (i+1)*m.Cols]
}

// At is the element in row i and column j.
func (m Mat) At(i, j int) float64 { return m.Data[i*m.Cols+j] }

// view is s as a mathgl vector that shares its memory.
func view(s []float64) *mgl64.VecN {
	v := new(mgl64.VecN)
	v.SetBackingSlice(s)
	return v
}

// check panics with op and the shapes at fault: an oracle that went on would mislead.
func check(ok bool, op string, shapes ...any) {
	if !ok {
		panic(fmt.Sprintf("ref: %s: sizes disagree: %v", op, shapes))
	}
}

func (m Mat) shape() [2]int { return [2]int{m.Rows, m.Cols} }
