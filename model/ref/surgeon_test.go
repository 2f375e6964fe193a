package ref

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// surgeonProblem is a regression of random tokens, whose inputs are like one another.
func surgeonProblem(tokens, in, out int, bias bool) (gram, cross, w Mat) {
	rng := rand.New(rand.NewPCG(3, 4))
	n := in
	if bias {
		n++
	}
	a, e := mat.NewDense(tokens, n, nil), mat.NewDense(tokens, out, nil)
	for t := range tokens {
		shared := rng.NormFloat64()
		for i := range n {
			a.Set(t, i, shared+rng.NormFloat64()*float64(1+i%3))
		}
		if bias {
			a.Set(t, in, 1)
		}
		for o := range out {
			e.Set(t, o, rng.NormFloat64()+a.At(t, o%n))
		}
	}
	w = NewMat(out, in)
	for i := range w.Data {
		w.Data[i] = rng.NormFloat64()
	}
	var g, c mat.Dense
	g.Mul(a.T(), a)
	c.Mul(e.T(), a)
	return Mat{n, n, g.RawMatrix().Data}, Mat{out, n, c.RawMatrix().Data}, w
}

// ridgeWithout is the least of Σ‖(W−w)a − e‖² + λm‖W−w‖² over the W whose columns gone are zero, without the constant Σ‖e‖².
func ridgeWithout(t *testing.T, gram, cross, w Mat, gone []int, lambda float64) (loss float64) {
	n, in, mean := gram.Rows, w.Cols, 0.0
	for i := range in {
		mean += gram.At(i, i) / float64(in)
	}
	full := symmetric(gram)
	var stay []int
	for i := range n {
		if full.SetSym(i, i, full.At(i, i)+lambda*mean); !slices.Contains(gone, i) {
			stay = append(stay, i)
		}
	}
	for o := range w.Rows {
		d := make([]float64, n) // the correction: −w where a column goes
		for _, i := range gone {
			d[i] = -w.At(o, i)
		}
		part, right := mat.NewSymDense(len(stay), nil), mat.NewVecDense(len(stay), nil)
		for i, r := range stay {
			v := cross.At(o, r)
			for _, g := range gone {
				v -= full.At(r, g) * d[g]
			}
			right.SetVec(i, v)
			for j, c := range stay {
				part.SetSym(i, j, full.At(r, c))
			}
		}
		var x mat.VecDense
		if err := x.SolveVec(part, right); err != nil {
			t.Fatal(err)
		}
		for i, r := range stay {
			d[r] = x.AtVec(i)
		}
		for i := range n {
			loss -= 2 * d[i] * cross.At(o, i)
			for j := range n {
				loss += d[i] * full.At(i, j) * d[j]
			}
		}
	}
	return loss
}

// TestSurgeon takes out one input after another. Each time no other would have raised the loss less, all others fitted again, and it rises by
// what the surgeon says; so it does with several at a time.
func TestSurgeon(t *testing.T) {
	for _, bias := range []bool{false, true} {
		const in, lambda = 9, 0.1
		gram, cross, w := surgeonProblem(40, in, 5, bias)
		loss := func(gone ...int) float64 { return ridgeWithout(t, gram, cross, w, gone, lambda) }
		one, ok := NewSurgeon(gram, cross, w, lambda)
		if !ok {
			t.Fatal("not positive definite")
		}
		var gone []int
		for range in - 2 {
			best, least := -1, 0.0
			for i := range in {
				if slices.Contains(gone, i) {
					continue
				}
				if with := loss(append(slices.Clone(gone), i)...); best < 0 || with < least {
					best, least = i, with
				}
			}
			before := loss(gone...)
			if got := one.Least(1); got[0] != best {
				t.Fatalf("bias %v, without %v: %d would go, want %d", bias, gone, got[0], best)
			}
			rise, ok := one.Remove([]int{best})
			if gone = append(gone, best); !ok || math.Abs(rise-(least-before)) > 1e-9*math.Abs(least) {
				t.Fatalf("bias %v, without %v: the loss rises by %v, want %v", bias, gone, rise, least-before)
			}
		}
		together, _ := NewSurgeon(gram, cross, w, lambda)
		rise, ok := together.Eliminate(4, 3)
		kept := together.Kept()
		if gone = nil; len(kept) != 4 || kept[3] >= in {
			t.Fatalf("bias %v: 4 of %d: %v", bias, in, kept)
		}
		for i := range in {
			if !slices.Contains(kept, i) {
				gone = append(gone, i)
			}
		}
		if want := loss(gone...) - loss(); !ok || math.Abs(rise-want) > 1e-9*math.Abs(want) {
			t.Errorf("bias %v: without %v the loss rises by %v, want %v", bias, gone, rise, want)
		}
	}
	gram, cross, w := surgeonProblem(3, 9, 5, false)
	if _, ok := NewSurgeon(gram, cross, w, 0); ok {
		t.Error("fewer tokens than inputs are solved without a ridge")
	}
}
