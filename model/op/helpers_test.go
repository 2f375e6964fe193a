package op

import (
	"errors"
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
)

// refused checks that an operation makes a *ShapeError the recorder's.
func refused(t *testing.T, d *vk.Device, what string, record func(r *vk.Recorder)) {
	t.Helper()
	b := newBench(t, d)
	record(b.r)
	var shape *ShapeError
	if !errors.As(b.r.Err(), &shape) {
		t.Errorf("%s: error %v, want a *ShapeError", what, b.r.Err())
	}
}

// block is rows [row, rowEnd) and columns [col, colEnd) of m.
func block(m ref.Mat, row, rowEnd, col, colEnd int) ref.Mat {
	y := ref.NewMat(rowEnd-row, colEnd-col)
	for i := range y.Rows {
		copy(y.Row(i), m.Row(row + i)[col:colEnd])
	}
	return y
}

// integers are an operand of 32-bit words, −1 for all ones.
func integers(v ...int) optest.Input {
	m := ref.NewMat(1, len(v))
	for i, x := range v {
		m.Data[i] = float64(x)
	}
	return optest.Input{Mat: m, Words: true}
}

// one is the only result of a reference.
func one(m ref.Mat) []ref.Mat { return []ref.Mat{m} }

// vector is a row.
func vector(v ...float64) ref.Mat { return ref.Mat{Rows: 1, Cols: len(v), Data: v} }

// kept is a matrix of what a result must leave as it is.
func kept(rows, cols int) ref.Mat {
	m := ref.NewMat(rows, cols)
	for i := range m.Data {
		m.Data[i] = math.NaN()
	}
	return m
}

// positionsOf are those of rows in windows of window rows, from start on.
func positionsOf(rows, window, start int) []int {
	p := make([]int, rows)
	for row := range p {
		p[row] = start + row%window
	}
	return p
}

// tensors are those of a case.
func tensors(x []optest.Tensor) []Tensor {
	y := make([]Tensor, len(x))
	for i := range x {
		y[i] = Tensor(x[i])
	}
	return y
}

// scratch is what a case's operation works in.
func scratch(rows, cols int) func(b *optest.Bench) []optest.Tensor {
	return func(b *optest.Bench) []optest.Tensor { return []optest.Tensor{b.Empty(dtype.F32, rows, cols)} }
}

// exact are results of a dtype that equal their reference.
func exact(d dtype.DType, rows, cols int) []optest.Output {
	return []optest.Output{{DType: d, Rows: rows, Cols: cols, Exact: true}}
}
