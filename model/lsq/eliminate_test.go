package lsq

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// dense are G and C in float64.
func (q *Equations) dense() (gram, cross ref.Mat) {
	n := q.shape.inputs()
	gram, cross = ref.NewMat(n, n), ref.NewMat(q.shape.Out, n)
	for i := range n {
		for j := range n {
			gram.Row(i)[j] = q.gram(i, j)
		}
	}
	for o := range q.shape.Out {
		for i, v := range q.cross(o) {
			cross.Row(o)[i] = v.float()
		}
	}
	return gram, cross
}

// weight is a w that targets of a regression correct by about as much as it is.
func weight(shape Shape) (w ref.Mat, list []float32) {
	rng := rand.New(rand.NewPCG(uint64(shape.In), uint64(shape.Out)))
	w = ref.NewMat(shape.Out, shape.In)
	for i := range w.Data {
		list = append(list, float32(0.01*rng.NormFloat64()))
		w.Data[i] = float64(list[i])
	}
	return w, list
}

// eliminate is Eliminate with so many inputs together, and tells what it went through.
func eliminate(ctx context.Context, d *vk.Device, q *Equations, w []float32, keep, together int, lambda float64) (e *elimination, err error) {
	err = with(d, q, func(s *solver) error {
		if e = newElimination(s, w); s.scope.Err() != nil {
			return s.scope.Err()
		}
		return e.run(ctx, keep, lambda, together)
	})
	return e, err
}

// How far an elimination may be from one in float64.
const (
	costBound = 1e-4 // a cost: f32 roundings, of 6e-8 each, times the condition of the equations, some thousand where inputs are alike
	riseBound = 1e-3 // what the loss rises by in the end, more or less than where float64 chooses: of inputs that cost the same another may have gone
)

// replay takes out in float64 what a device did. Of each block that went, no input costs more than one that stayed, but for costBound; by the
// last block every cost is what the device took it for, with the same bound; and the loss rises as where float64 chooses.
func replay(t *testing.T, q *Equations, w ref.Mat, e *elimination, keep, together int, lambda float64) {
	t.Helper()
	gram, cross := q.dense()
	want, ok := ref.NewSurgeon(gram, cross, w, lambda)
	got, _ := ref.NewSurgeon(gram, cross, w, lambda)
	if !ok {
		t.Fatal("the reference is not positive definite")
	}
	least, ok := want.Eliminate(keep, together)
	if !ok {
		t.Fatal("inputs are the same in the reference")
	}
	rise, off := 0.0, 0.0
	for going := range slices.Chunk(e.gone, together) {
		costs := got.Costs()
		most, next := 0.0, math.Inf(1)
		for at, i := range got.Left {
			if _, goes := slices.BinarySearch(going, i); goes {
				most = max(most, costs[at])
			} else if i < w.Cols {
				next = min(next, costs[at])
			}
		}
		if most > next*(1+costBound) {
			t.Errorf("%v go, one of which costs %v, while one that costs %v stays", going, most, next)
		}
		if going[len(going)-1] == e.gone[len(e.gone)-1] { // the last
			for at, i := range got.Left {
				if i < w.Cols {
					off = max(off, math.Abs(e.squares[i]*square(e)/e.hDiagonal[i]/costs[at]-1))
				}
			}
		}
		more, ok := got.Remove(going)
		if !ok {
			t.Fatal("inputs are the same in the reference")
		}
		rise += more
	}
	if kept := e.kept(); len(kept) != keep || !slices.Equal(kept, got.Kept()) {
		t.Errorf("%v stay, want %d: %v", kept, keep, got.Kept())
	}
	if off > costBound {
		t.Errorf("a cost is off by %.2g", off)
	}
	if math.Abs(rise-least) > riseBound*least {
		t.Errorf("the loss rises by %v, want %v", rise, least)
	}
	others := 0
	for _, i := range want.Kept() {
		if e.at[i] {
			others++
		}
	}
	t.Logf("the loss rises by %.6g, %.2g more than the least; %d of %d are others; costs are off by %.2g", rise, rise/least-1, others, keep, off)
}

// square is the unit of squares over H on the device.
func square(e *elimination) float64 { return math.Ldexp(1, 2*(e.crossUnit-e.gramUnit)+e.gramUnit) }

func TestEliminate(t *testing.T) {
	ctx := t.Context()
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			in, out        int
			bias           bool
			tokens, window int
			keep, together int
			lambda         float64
			alike          float64 // so much more is common to all inputs, pairs differ by a ten-thousandth or not at all, and some are zero
		}{
			{1, 1, false, 1, 1, 1, 96, 0.1, 0}, {2, 3, true, 5, 1, 1, 96, 0.1, 0}, {9, 5, true, 40, 8, 3, 1, 0.1, 0}, {7, 24, false, 66, 33, 3, 2, 0.1, 0},
			{48, 1, true, 128, 128, 47, 96, 0.1, 0}, {120, 24, true, 33, 33, 60, 96, 0.1, 0}, {127, 130, true, 396, 33, 31, 13, 0.1, 0},
			{128, 9, false, 256, 128, 1, 96, 0.1, 0}, {344, 576, false, 256, 128, 172, 96, 0.1, 0}, {513, 40, true, 300, 100, 250, 96, 0.1, 0},
			{260, 1030, false, 520, 130, 128, 37, 0.1, 0}, {300, 20, true, 600, 100, 150, 96, 0.1, 30}, {300, 20, false, 40, 40, 150, 96, 0.1, 300}, {90, 30, true, 300, 100, 40, 7, 0.01, 3},
		} {
			if c.in*c.out > 5000 && d.Tier == vk.Baseline {
				continue // as linear is tested there
			}
			p := regression(Shape{c.in, c.out, c.bias}, c.tokens, c.window)
			if c.alike > 0 {
				for token := range c.tokens {
					row := p.a.Row(token)
					for i := range row {
						switch common := c.alike * p.a.At(token, 0); {
						case i%7 == 6:
							row[i] = 0
						case i%5 == 4:
							row[i] = row[i-1] + 1e-4*row[i]
						case i%11 == 10:
							row[i] = row[i-1]
						case i > 0:
							row[i] += common
						}
						row[i] = float64(float32(row[i]))
					}
				}
			}
			t.Run(fmt.Sprint(p.Shape, c.tokens), func(t *testing.T) {
				q := p.equations(t, d, 2)
				w, list := weight(p.Shape)
				e, err := eliminate(ctx, d, q, list, c.keep, c.together, c.lambda)
				if err != nil {
					t.Fatal(err)
				}
				replay(t, q, w, e, c.keep, c.together, c.lambda)
			})
		}
	})
}

// The same bits come of panels on the device, on the host, and of some here and some there.
func TestEliminateBits(t *testing.T) {
	const keep, lambda = 250, 0.1
	shape := Shape{520, 150, true}
	_, w := weight(shape)
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		q := regression(shape, 6*130, 130).equations(t, d, 6)
		want, err := eliminate(t.Context(), d, q, w, keep, 96, lambda)
		if err != nil {
			t.Fatal(err)
		}
		onHost := func(e *elimination) (count, all int) {
			for _, p := range slices.Concat(e.root, e.updates, e.weights) {
				if all++; p.device == nil {
					count++
				}
			}
			return count, all
		}
		for _, more := range []int64{0, 256 << 10, 1 << 20} {
			tight, err := vk.Open(vk.Options{Device: fmt.Sprint(d.Info.Index), MaxMemory: EliminateMemory(d, shape) + more + 128<<10})
			if err != nil {
				t.Fatal(err)
			}
			got, err := eliminate(t.Context(), tight, q, w, keep, 96, lambda)
			if err := errors.Join(err, tight.Close()); err != nil {
				t.Fatal(err)
			}
			host, all := onHost(got)
			t.Logf("%d KiB more: %d of %d panels on the host", more>>10, host, all)
			if host == 0 || more > 0 && host == all {
				t.Errorf("with %d bytes more than needed %d of %d panels are on the host", more, host, all)
			}
			if !slices.Equal(got.gone, want.gone) || !slices.Equal(got.squares, want.squares) || !slices.Equal(got.hDiagonal, want.hDiagonal) {
				t.Errorf("with %d of %d panels on the host others go, or cost something else", host, all)
			}
		}
	})
}

// expiring is a context that ends after it was asked so many times.
type expiring struct {
	context.Context
	left int
}

func (c *expiring) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestEliminateStops(t *testing.T) {
	shape := Shape{300, 20, false}
	_, w := weight(shape)
	d := vktest.Open(t, vk.Options{})
	q := regression(shape, 100, 100).equations(t, d, 1)
	used := d.Memory().Used
	count := &expiring{t.Context(), math.MaxInt}
	if _, err := Eliminate(count, d, q, w, 20, 0.1); err != nil {
		t.Fatal(err)
	}
	asked := math.MaxInt - count.left
	for at := 0; at < asked; at += 1 + asked/9 {
		if kept, err := Eliminate(&expiring{t.Context(), at}, d, q, w, 20, 0.1); !errors.Is(err, context.Canceled) || kept != nil {
			t.Errorf("a context that ended when it was asked for the %d. time of %d: %v, %v", at, asked, kept, err)
		}
	}
	if got := d.Memory().Used; got != used {
		t.Errorf("%d bytes are in use on the device, before it were %d", got, used)
	}
}

func TestEliminateRefusals(t *testing.T) {
	p := regression(Shape{9, 4, true}, 6, 3)
	d := vktest.Open(t, vk.Options{})
	q := p.equations(t, d, 2)
	_, w := weight(p.Shape)
	for what, err := range map[string]error{
		"no weight":            second(Eliminate(t.Context(), d, q, nil, 3, 0.1)),
		"nothing to keep":      second(Eliminate(t.Context(), d, q, w, 0, 0.1)),
		"more than there is":   second(Eliminate(t.Context(), d, q, w, 10, 0.1)),
		"a negative lambda":    second(Eliminate(t.Context(), d, q, w, 3, -1)),
		"a lambda that is not": second(Eliminate(t.Context(), d, q, w, 3, math.NaN())),
		"no tokens":            second(Eliminate(t.Context(), d, NewEquations(p.Shape), w, 3, 0.1)),
	} {
		if err == nil || errors.Is(err, ErrLambda) || errors.Is(err, ErrAlike) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	if _, err := Eliminate(t.Context(), d, q, w, 3, 0); !errors.Is(err, ErrLambda) {
		t.Errorf("fewer tokens than inputs without a ridge: error %v, want ErrLambda", err)
	}
	w[5] = float32(math.NaN())
	if _, err := Eliminate(t.Context(), d, q, w, 3, 0.1); err == nil || !strings.Contains(err.Error(), "input 5, of the weight and what corrects it, is not finite") {
		t.Errorf("a weight that is no number: error %v", err)
	}
}

// TestEliminateAlike takes the same change of an inverse twice, so that it is not positive definite any more. Of equations this does not come: a factor fails
// before, with ErrLambda.
func TestEliminateAlike(t *testing.T) {
	ctx, p := t.Context(), regression(Shape{9, 4, false}, 20, 20)
	d := vktest.Open(t, vk.Options{})
	_, w := weight(p.Shape)
	if err := with(d, p.equations(t, d, 1), func(s *solver) error {
		e := newElimination(s, w)
		if err := errors.Join(e.run(ctx, 9, 0.1, 1), e.remove(ctx, []int{5})); err != nil {
			return err
		}
		e.updates = append(e.updates, e.updates[0])
		if err := e.remove(ctx, []int{5, 7}); !errors.Is(err, ErrAlike) {
			t.Errorf("of an inverse that is not positive definite two columns go: error %v, want ErrAlike", err)
		}
		if _, err := e.least(1); !errors.Is(err, ErrAlike) {
			t.Errorf("an input costs less than nothing: error %v, want ErrAlike", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func second[T any](_ T, err error) error { return err }
