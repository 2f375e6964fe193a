package lsq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// problem is a regression with its data.
type problem struct {
	Shape
	window  int
	a, e, w ref.Mat
}

// regression makes inputs as layers have them, some much larger than others and all leaning one way, and targets that they explain half of.
func regression(shape Shape, tokens, window int) problem {
	rng := rand.New(rand.NewPCG(uint64(shape.In), uint64(tokens)))
	p := problem{shape, window, ref.NewMat(tokens, shape.In), ref.NewMat(tokens, shape.Out), ref.NewMat(1, tokens)}
	scale := make([]float64, shape.In)
	for i := range scale {
		scale[i] = math.Exp(rng.NormFloat64())
	}
	for t := range tokens {
		common := rng.NormFloat64()
		for i := range shape.In {
			p.a.Row(t)[i] = float64(float32(scale[i] * (rng.NormFloat64() + 0.5*common)))
		}
		p.w.Data[t] = float64(float32(math.Exp(2*rng.NormFloat64() - 6)))
	}
	for o := range shape.Out {
		i, j := rng.IntN(shape.In), rng.IntN(shape.In)
		for t := range tokens {
			p.e.Row(t)[o] = float64(float32(0.01 * (rng.NormFloat64() + 0.3 + p.a.At(t, i)/scale[i] - 0.5*p.a.At(t, j)/scale[j])))
		}
	}
	return p
}

// sums makes the sums of panels [begin, end), in batches of so many windows.
func (p problem) sums(t testing.TB, d *vk.Device, into *Equations, begin, end, batch int, rows ...int) {
	t.Helper()
	b := optest.New(t, d)
	scope := d.NewScope()
	defer scope.Free()
	s := NewSums(scope, b.R, p.Shape, begin, end)
	if err := scope.Err(); err != nil {
		t.Fatal(err)
	}
	first, last := 0, p.a.Rows
	if len(rows) == 2 {
		first, last = rows[0], rows[1]
	}
	for at := first; at < last; at += batch * p.window {
		to := min(last, at+batch*p.window)
		part := func(m ref.Mat) op.Tensor {
			return op.Tensor(b.Upload(ref.Mat{Rows: to - at, Cols: m.Cols, Data: slices.Clone(m.Data[at*m.Cols : to*m.Cols])}, dtype.F32))
		}
		s.Add(part(p.a), part(p.e), op.Tensor(b.Upload(ref.Mat{Rows: 1, Cols: to - at, Data: slices.Clone(p.w.Data[at:to])}, dtype.F32)), p.window)
	}
	if err := s.Collect(context.Background(), into); err != nil {
		t.Fatal(err)
	}
}

func (p problem) equations(t testing.TB, d *vk.Device, batch int) *Equations {
	t.Helper()
	q := NewEquations(p.Shape)
	p.sums(t, d, q, 0, p.Panels(), batch)
	return q
}

var shapes = []struct {
	in, out        int
	bias           bool
	tokens, window int
}{
	{1, 1, false, 1, 1}, {1, 24, true, 5, 1}, {7, 24, false, 66, 33}, {48, 1, true, 128, 128}, {120, 24, true, 33, 33}, {344, 576, false, 256, 128},
	{127, 576, true, 396, 33}, {1000, 24, false, 300, 100}, {130, 129, true, 260, 130},
}

// distance is how far apart two matrices are, of the length of the second.
func distance(got []float32, want []float64) float64 {
	off, size := 0.0, 0.0
	for i, w := range want {
		off += (float64(got[i]) - w) * (float64(got[i]) - w)
		size += w * w
	}
	return math.Sqrt(off / size)
}

// joined is D with the bias as its last column, as ref has it.
func joined(s *Solution, shape Shape) (all []float32) {
	for o := range shape.Out {
		all = append(all, s.D[o*shape.In:(o+1)*shape.In]...)
		if shape.Bias {
			all = append(all, s.Bias[o])
		}
	}
	return all
}

func TestSolve(t *testing.T) {
	ctx := context.Background()
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range shapes {
			if c.in*c.out > 5000 && d.Tier == vk.Baseline {
				continue // as linear is tested there
			}
			p := regression(Shape{c.in, c.out, c.bias}, c.tokens, c.window)
			t.Run(fmt.Sprint(p.Shape, c.tokens), func(t *testing.T) {
				q := p.equations(t, d, 2)
				if q.Tokens() != c.tokens {
					t.Errorf("%d tokens, want %d", q.Tokens(), c.tokens)
				}
				zero := ref.RidgeLoss(p.a, p.e, p.w.Data, ref.NewMat(c.out, c.in))
				if got := q.Loss0(); math.Abs(got-zero) > 1e-6*zero {
					t.Errorf("loss of 0 is %v, want %v", got, zero)
				}
				lambdas := []float64{0.03, 0.5}
				for i, lambda := range lambdas {
					s, err := Solve(ctx, d, q, lambda)
					if err != nil {
						t.Fatal(err)
					}
					want, loss, ok := ref.Ridge(p.a, p.e, p.w.Data, lambdas[i], c.bias)
					if !ok || s.Lambda != lambdas[i] {
						t.Fatalf("lambda %v of %v; reference %v", s.Lambda, lambdas[i], ok)
					}
					if off := distance(joined(s, p.Shape), want.Data); !(off < 1e-4) {
						t.Errorf("lambda %v: relative error %.3g", s.Lambda, off)
					}
					got, err := Loss(ctx, d, q, s.D, s.Bias)
					if err != nil {
						t.Fatal(err)
					}
					if math.Abs(got-loss) > 1e-6*zero {
						t.Errorf("lambda %v: loss %v, want %v of %v", s.Lambda, got, loss, zero)
					}
				}
			})
		}
	})
}

// The lambda that is chosen is that of the least loss in float64 on tokens that were not fitted, and its solution that of Solve.
func TestChoose(t *testing.T) {
	ctx := t.Context()
	lambdas := []float64{1e-3, 0.03, 1, 30}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		var chosen []float64
		for _, c := range []struct {
			Shape
			tokens int
			noise  float64
		}{{Shape{40, 9, false}, 120, 0}, {Shape{130, 129, true}, 600, 0}, {Shape{300, 24, true}, 240, 0}, {Shape{60, 5, false}, 60, 20}} {
			p, held := regression(c.Shape, c.tokens, c.tokens/4), regression(c.Shape, c.tokens, c.tokens/4)
			for i := range held.a.Data { // other tokens of the same kind
				held.a.Data[i] = float64(float32(held.a.Data[i] * (1 + 0.5*math.Sin(float64(i)))))
			}
			for i := range p.e.Data {
				p.e.Data[i] = float64(float32(p.e.Data[i] + 0.01*c.noise*math.Sin(float64(i*i))))
			}
			best, least := 0.0, math.Inf(1)
			for _, lambda := range lambdas {
				want, _, ok := ref.Ridge(p.a, p.e, p.w.Data, lambda, c.Bias)
				if !ok {
					t.Fatalf("%v: no reference", c.Shape)
				}
				if loss := ref.RidgeLoss(held.a, held.e, held.w.Data, want); loss < least {
					best, least = lambda, loss
				}
			}
			fit, other := p.equations(t, d, 4), held.equations(t, d, 4)
			got, err := Choose(ctx, d, fit, other, lambdas)
			if err != nil {
				t.Fatal(err)
			}
			same, err := Solve(ctx, d, fit, best)
			if err != nil {
				t.Fatal(err)
			}
			if got.Lambda != best || !slices.Equal(got.D, same.D) || !slices.Equal(got.Bias, same.Bias) {
				t.Errorf("%v: lambda %v chosen, want %v and its solution", c.Shape, got.Lambda, best)
			}
			chosen = append(chosen, best)
		}
		slices.Sort(chosen)
		if len(slices.Compact(chosen)) < 2 {
			t.Errorf("all are best with the lambda %v: the test says little", chosen[0])
		}
	})
}

// The same bits come of other batches, panels by themselves, shards, and factors that do not fit.
func TestBits(t *testing.T) {
	ctx := context.Background()
	p := regression(Shape{520, 150, true}, 6*130, 130)
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		file := func(q *Equations) []byte {
			var b bytes.Buffer
			if err := q.Marshal(&b); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}
		whole := p.equations(t, d, 6)
		want := file(whole)
		if !bytes.Equal(file(p.equations(t, d, 1)), want) {
			t.Error("batches of one window give other sums")
		}
		byPanel := NewEquations(p.Shape)
		for _, r := range [][2]int{{3, 7}, {1, 2}, {0, 1}, {2, 3}} {
			if byPanel.complete() == nil {
				t.Error("equations without some panels are complete")
			}
			p.sums(t, d, byPanel, r[0], r[1], 4)
		}
		if !bytes.Equal(file(byPanel), want) {
			t.Error("panels by themselves give other sums")
		}
		shards := NewEquations(p.Shape)
		for _, r := range [][2]int{{4 * 130, 6 * 130}, {0, 130}, {130, 4 * 130}} {
			one := NewEquations(p.Shape)
			p.sums(t, d, one, 0, p.Panels(), 3, r[0], r[1])
			if err := shards.MergeFrom(bytes.NewReader(file(one)), r[1]-r[0]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(file(shards), want) {
			t.Error("shards give other sums")
		}
		first, err := Solve(ctx, d, whole, 0.1)
		if err != nil {
			t.Fatal(err)
		}
		d2, err := vk.Open(vk.Options{Device: fmt.Sprint(d.Info.Index), MaxMemory: SolveMemory(d, p.Shape) + 448<<10})
		if err != nil {
			t.Fatal(err)
		}
		defer d2.Close()
		tight, err := newSolver(d2, whole)
		if err != nil {
			t.Fatal(err)
		}
		if err := tight.factor(ctx, 0.1); err != nil {
			t.Fatal(err)
		}
		if tight.columns[0].device == nil || !slices.ContainsFunc(tight.columns, func(c column) bool { return c.host != nil }) {
			t.Error("the factor does not lie on device and host")
		}
		if err := tight.close(); err != nil {
			t.Fatal(err)
		}
		second, err := Solve(ctx, d2, whole, 0.1)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(first.D, second.D) || !slices.Equal(first.Bias, second.Bias) {
			t.Error("a factor on the host gives another solution")
		}
	})
}

func TestSumsTwice(t *testing.T) {
	p := regression(Shape{5, 3, false}, 8, 4)
	d := vktest.Open(t, vk.Options{})
	b := optest.New(t, d)
	scope := d.NewScope()
	defer scope.Free()
	s, q := NewSums(scope, b.R, p.Shape, 0, p.Panels()), NewEquations(p.Shape)
	up := func(m ref.Mat) op.Tensor { return op.Tensor(b.Upload(m, dtype.F32)) }
	for range 2 {
		s.Add(up(p.a), up(p.e), up(p.w), 4)
		if err := s.Collect(context.Background(), q); err != nil {
			t.Fatal(err)
		}
	}
	twice, once := q.Loss0(), p.equations(t, d, 1).Loss0()
	if q.Tokens() != 16 || twice != 2*once {
		t.Errorf("%d tokens with a loss of %v, want 16 with %v", q.Tokens(), twice, 2*once)
	}
}

func TestRefusals(t *testing.T) {
	ctx := context.Background()
	p := regression(Shape{9, 4, false}, 6, 3)
	d := vktest.Open(t, vk.Options{})
	q := p.equations(t, d, 2)
	if _, err := Solve(ctx, d, q, 0); !errors.Is(err, ErrLambda) {
		t.Errorf("fewer tokens than inputs without lambda: %v", err)
	}
	if _, err := Solve(ctx, d, q, -1); err == nil {
		t.Error("a negative lambda is taken")
	}
	if _, err := Solve(ctx, d, NewEquations(p.Shape), 1); err == nil {
		t.Error("equations without tokens are solved")
	}
	if _, err := Choose(ctx, d, q, NewEquations(Shape{9, 5, false}), []float64{1, 2}); err == nil {
		t.Error("equations of another shape choose a lambda")
	}
	if _, err := Loss(ctx, d, q, make([]float32, 35), nil); err == nil {
		t.Error("a weight of another size has a loss")
	}
	for what, change := range map[string]func(p *problem){
		"NaN":   func(p *problem) { p.a.Data[3] = math.NaN() },
		"large": func(p *problem) { p.a.Data[3], p.w.Data[0] = 1e10, 1 },
		"inf":   func(p *problem) { p.e.Data[0] = math.Inf(1) },
	} {
		bad := regression(p.Shape, 6, 3)
		change(&bad)
		b := optest.New(t, d)
		scope := d.NewScope()
		s := NewSums(scope, b.R, bad.Shape, 0, bad.Panels())
		s.Add(op.Tensor(b.Upload(bad.a, dtype.F32)), op.Tensor(b.Upload(bad.e, dtype.F32)), op.Tensor(b.Upload(bad.w, dtype.F32)), 3)
		if err := s.Collect(ctx, NewEquations(bad.Shape)); !errors.Is(err, ErrRange) {
			t.Errorf("%s: error %v, want ErrRange", what, err)
		}
		scope.Free()
	}
	for what, window := range map[string]int{"a part of a window": 4, "no window": 0} {
		b := optest.New(t, d)
		scope := d.NewScope()
		s := NewSums(scope, b.R, p.Shape, 0, p.Panels())
		s.Add(op.Tensor(b.Upload(p.a, dtype.F32)), op.Tensor(b.Upload(p.e, dtype.F32)), op.Tensor(b.Upload(p.w, dtype.F32)), window)
		var shape *op.ShapeError
		if !errors.As(b.R.Err(), &shape) {
			t.Errorf("%s: error %v", what, b.R.Err())
		}
		scope.Free()
	}
	scope := d.DryScope()
	NewSums(scope, nil, p.Shape, 1, 9)
	if scope.Err() == nil {
		t.Error("panels that there are not are summed")
	}
	if bytes := d.DryRun(func(s *vk.Scope) { NewSums(s, nil, Shape{1536, 576, false}, 0, 17) }); bytes < 8*1536*1536+16*1536*576 {
		t.Errorf("%d bytes predicted", bytes)
	}
}

// What was cut off, changed, or is of another size is refused, and what comes behind is not read.
func TestMergeFrom(t *testing.T) {
	p := regression(Shape{3, 2, true}, 6, 3)
	q := p.equations(t, vktest.Open(t, vk.Options{}), 1)
	var b bytes.Buffer
	if err := q.Marshal(&b); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	behind, twice := bytes.NewReader(append(slices.Clone(good), 'x')), NewEquations(p.Shape)
	if err := twice.MergeFrom(behind, 6); err != nil || behind.Len() != 1 || twice.Tokens() != 6 || twice.Loss0() != q.Loss0() {
		t.Fatalf("read as %+v, %d bytes behind it: %v", twice, behind.Len(), err)
	}
	if err := twice.MergeFrom(bytes.NewReader(good), 6); err != nil || twice.Tokens() != 12 || twice.Loss0() != 2*q.Loss0() || twice.gram(2, 1) != 2*q.gram(2, 1) {
		t.Fatalf("read twice as %+v: %v", twice, err)
	}
	refused := func(what string, raw []byte, shape Shape, tokens int) {
		t.Helper()
		if err := NewEquations(shape).MergeFrom(bytes.NewReader(raw), tokens); err == nil {
			t.Errorf("%s is read", what)
		}
	}
	for n := range good {
		refused(fmt.Sprintf("what is cut after %d of %d bytes", n, len(good)), good[:n], p.Shape, 6)
		bad := slices.Clone(good)
		bad[n] ^= 0x10
		refused(fmt.Sprintf("what is changed in byte %d", n), bad, p.Shape, 6)
	}
	for _, shape := range []Shape{{2, 2, true}, {3, 1, true}, {3, 2, false}} {
		refused(fmt.Sprintf("what is not of %v", shape), good, shape, 6)
	}
	for _, tokens := range []int{0, 5, 7} {
		refused(fmt.Sprintf("what is not of %d tokens", tokens), good, p.Shape, tokens)
	}
	b.Reset()
	if err := NewEquations(p.Shape).Marshal(&b); err != nil {
		t.Fatal(err)
	}
	if err := twice.MergeFrom(&b, 0); err != nil || twice.Tokens() != 12 {
		t.Errorf("sums over no tokens: %v", err)
	}
}

func FuzzMergeFrom(f *testing.F) {
	shape := Shape{2, 1, true}
	var b bytes.Buffer
	if err := NewEquations(shape).Marshal(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes(), uint16(0))
	f.Fuzz(func(t *testing.T, raw []byte, tokens uint16) {
		q := NewEquations(shape)
		from := bytes.NewReader(raw)
		if err := q.MergeFrom(from, int(tokens)); err != nil {
			return
		}
		var b bytes.Buffer
		if err := q.Marshal(&b); err != nil || !bytes.Equal(b.Bytes(), raw[:len(raw)-from.Len()]) {
			t.Errorf("read and written again it is not the same: %v", err)
		}
	})
}

func TestFixed(t *testing.T) {
	top := fixed{math.MaxInt64, math.MaxUint64}
	for _, c := range []struct {
		a, b, sum fixed
		ok        bool
		value     float64
	}{
		{fixed{0, math.MaxUint64}, fixed{0, 1}, fixed{1, 0}, true, 0x1p-16},
		{fixed{-1, math.MaxUint64}, fixed{0, 1}, fixed{0, 0}, true, 0},
		{fixed{-1, 0}, fixed{0, 0}, fixed{-1, 0}, true, -0x1p-16},
		{fixed{0, 0}, fixed{-1, math.MaxUint64}, fixed{-1, math.MaxUint64}, true, -0x1p-80},
		{top, fixed{0, 1}, fixed{}, false, 0},
		{fixed{math.MinInt64, 0}, fixed{-1, math.MaxUint64}, fixed{}, false, 0},
	} {
		got := c.a
		err := got.add(c.b)
		if (err == nil) != c.ok || c.ok && (got != c.sum || got.float() != c.value) {
			t.Errorf("%v + %v = %v = %v, %v; want %v = %v", c.a, c.b, got, got.float(), err, c.sum, c.value)
		}
	}
	if got := decode(encode(nil, []fixed{{-7, 12}, top})); !slices.Equal(got, []fixed{{-7, 12}, top}) {
		t.Errorf("decoded as %v", got)
	}
}

// TestFixedFloat compares values with those of big integers, rounded once for each half as float says, at the ends of words and at random.
func TestFixedFloat(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	list := []fixed{{0, 0}, {0, 1}, {-1, math.MaxUint64}, {-1, 0}, {0, math.MaxUint64}, {1, 0}, {math.MaxInt64, math.MaxUint64}, {math.MinInt64, 0}, {math.MinInt64, 1}, {0, 1 << 63}, {-1, 1 << 63}, {0, 1<<53 + 1}, {0, 1<<63 + 1<<10 + 1}}
	for range 10_000 {
		list = append(list, fixed{int64(rng.Uint64()) >> rng.IntN(64), rng.Uint64() >> rng.IntN(64)})
	}
	for _, f := range list {
		exact := new(big.Int).Lsh(big.NewInt(f.high), 64)
		exact.Add(exact, new(big.Int).SetUint64(f.low))
		want, _ := new(big.Float).SetMantExp(new(big.Float).SetInt(exact), -op.FixedBits).Float64()
		if got := f.float(); math.Abs(got-want) > math.Abs(want)*0x1p-52 || math.Signbit(got) != math.Signbit(want) {
			t.Errorf("%v is %v, want %v", f, got, want)
		}
	}
}
