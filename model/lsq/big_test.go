//go:build big

package lsq

import (
	"errors"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestSolveLargest solves for the down projection of a 70B model, 28,672 inputs, of which the factor alone takes 1.6 GB, on a device that may use 1 GiB:
// the rest streams. The reference are the equations of its 512 tokens.
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
	want := dual(t, p, lambda)
	for o := range p.Out {
		off, size := 0.0, 0.0
		for i, v := range want.Row(o) {
			off += (float64(s.D[o*p.In+i]) - v) * (float64(s.D[o*p.In+i]) - v)
			size += v * v
		}
		if off, size = math.Sqrt(off), math.Sqrt(size); !(off < 1e-4*size) {
			t.Errorf("row %d: a relative error of %.2g", o, off/size)
		} else {
			t.Logf("row %d: a relative error of %.2g", o, off/size)
		}
	}
}

// dual is the solution in float64 by the equations of tokens instead of those of inputs, of which there are fewer: with a and e times √w as
// columns, D = E (AᵀA + λm I)⁻¹ Aᵀ. Source: Saunders, Gammerman and Vovk, Ridge Regression Learning Algorithm in Dual Variables, ICML 1998.
func dual(t *testing.T, p problem, lambda float64) ref.Mat {
	tokens := p.a.Rows
	a := mat.NewDense(tokens, p.In, nil)
	e := mat.NewDense(tokens, p.Out, nil)
	for token, w := range p.w.Data {
		for i, v := range p.a.Row(token) {
			a.Set(token, i, math.Sqrt(w)*v)
		}
		for o, v := range p.e.Row(token) {
			e.Set(token, o, math.Sqrt(w)*v)
		}
	}
	gram := mat.NewSymDense(tokens, nil)
	gram.SymOuterK(1, a)
	ridge := lambda * mat.Trace(gram) / float64(p.In)
	for token := range tokens {
		gram.SetSym(token, token, gram.At(token, token)+ridge)
	}
	var factor mat.Cholesky
	if !factor.Factorize(gram) {
		t.Fatal("the equations of tokens are not positive definite")
	}
	var multipliers, d mat.Dense
	if err := factor.SolveTo(&multipliers, e); err != nil {
		t.Fatal(err)
	}
	d.Mul(multipliers.T(), a)
	return ref.Mat{Rows: p.Out, Cols: p.In, Data: d.RawMatrix().Data}
}
