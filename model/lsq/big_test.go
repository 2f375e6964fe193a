//go:build big

package lsq

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestSolveLargest solves for the down projection of a 70B model, 28,672 inputs, of which the factor alone takes 1.6 GB, on a device that may use 1 GiB:
// the rest streams. There is no reference of this size to solve by, but what D leaves of the equations follows in float64 from the tokens
// alone: D·Σ w a aᵀ is (Σ w D·a) aᵀ. λm times the error of D is at most that.
func TestSolveLargest(t *testing.T) {
	const lambda = 0.3
	p := regression(Shape{28672, 24, false}, 512, 256)
	d := vktest.Open(t, vk.Options{MaxMemory: 1 << 30})
	q := NewEquations(p.Shape)
	b := optest.New(t, d)
	upload := func(data []float64, rows int) op.Tensor {
		return op.Tensor(b.Upload(ref.Mat{Rows: rows, Cols: len(data) / rows, Data: slices.Clone(data)}, dtype.F32))
	}
	type window struct{ a, e, w op.Tensor } // of tokens
	var windows []window
	for at := 0; at < p.a.Rows; at += p.window {
		end := at + p.window
		windows = append(windows, window{upload(p.a.Data[at*p.In:end*p.In], p.window), upload(p.e.Data[at*p.Out:end*p.Out], p.window), upload(p.w.Data[at:end], 1)})
	}
	for begin := 0; begin < p.Panels(); begin += 4 { // 58 MB each
		scope := d.NewScope()
		sums := NewSums(scope, b.R, p.Shape, begin, min(p.Panels(), begin+4))
		err := scope.Err()
		if err == nil {
			for _, w := range windows {
				sums.Add(w.a, w.e, w.w, p.window)
			}
			err = sums.Collect(t.Context(), q)
		}
		if err = errors.Join(err, b.R.Wait(t.Context())); err != nil { // before what was recorded is freed
			t.Fatal(err)
		}
		scope.Free()
	}
	s, err := Solve(t.Context(), d, q, lambda)
	if err != nil {
		t.Fatal(err)
	}
	mean := 0.0
	for token, w := range p.w.Data {
		for _, a := range p.a.Row(token) {
			mean += w * a * a / float64(p.In)
		}
	}
	left := ref.NewMat(p.Out, p.In)
	for o := range p.Out {
		row := left.Row(o)
		for i := range row {
			row[i] = lambda * mean * float64(s.D[o*p.In+i])
		}
		for token, w := range p.w.Data {
			given := -p.e.Row(token)[o]
			for i, a := range p.a.Row(token) {
				given += float64(s.D[o*p.In+i]) * a
			}
			for i, a := range p.a.Row(token) {
				row[i] += w * given * a
			}
		}
		off, size := 0.0, 0.0
		for i, v := range row {
			off += v * v
			size += float64(s.D[o*p.In+i]) * float64(s.D[o*p.In+i])
		}
		if off, size = math.Sqrt(off), math.Sqrt(size)*lambda*mean; !(off < 1e-4*size) {
			t.Errorf("row %d: an error of at most %.3g of %.3g", o, off, size)
		}
	}
}
