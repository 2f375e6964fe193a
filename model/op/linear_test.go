package op

import (
	"errors"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// linearBound is of linear.
var linearBound = optest.Bound{Max: 2e-5, Why: "additions in the order of k, a random walk: 2^-25·sqrt(K/2) for a standard deviation, 5e-6 at K = 56,000"}

// linear computes x·wᵀ + bias on the device and compares it with the reference.
func (b *bench) linear(x, w, bias ref.Mat, dt dtype.DType) []float32 {
	b.t.Helper()
	dx, dw, dy := b.upload(x, dtype.F32), b.upload(w, dt), b.empty(dtype.F32, x.Rows, w.Rows)
	var db Tensor
	if bias.Data != nil {
		db = b.upload(bias, dt)
	}
	Linear(b.r, dy, dx, dw, db)
	got := b.download(dy)
	linearBound.Near(b.t, got, ref.Linear(x, w, bias.Data).Data, dt)
	return got
}

// linearOf is a Linear; split: w, x and y are larger than a binding, the last piece has few rows, and they come from the same kernel.
func linearOf(tokens, out, in int, biased bool, dt dtype.DType) optest.Case {
	operands := []optest.Input{{Mat: random(tokens, in)}, {Mat: random(out, in), DType: dt}}
	if biased {
		operands = append(operands, optest.Input{Mat: random(1, out), DType: dt})
	}
	return optest.Case{
		Name: optest.Shape(tokens, out, in, dt), Of: dt, In: operands, Out: likes(ref.NewMat(tokens, out)),
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			x := append(tensors(in), Tensor{})
			Linear(r, Tensor(out[0]), x[0], x[1], x[2])
		},
		Want: func(in []ref.Mat) []ref.Mat {
			var bias []float64
			if biased {
				bias = in[2].Data
			}
			return one(ref.Linear(in[0], in[1], bias))
		},
		Flops: 2 * float64(tokens*out*in),
	}
}

func linearTable() optest.Table {
	return optest.Table{Op: "linear", Bound: linearBound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			tokens, out, in int
			biased          bool
		}{
			{1, 1, 1, true}, {1, 131, 127, true}, {1, 66, 512, false}, {2, 5, 120, false}, {4, 37, 300, true}, // matrix-vector
			{5, 1, 1, true}, {7, 129, 127, true}, {66, 3, 50, true}, {70, 130, 18, true}, // a depth that is no multiple of 4
			{5, 70, 120, false}, {17, 64, 20, true}, {33, 131, 24, true}, {100, 1, 4, true},
		} {
			for _, dt := range dtype.All {
				cases = append(cases, linearOf(c.tokens, c.out, c.in, c.biased, dt))
			}
		}
		for _, c := range []struct{ tokens, out, in int }{{835, 321, 320}, {67, 4000, 131}, {67, 4004, 92}, {4, 70_016, 64}} {
			one := linearOf(c.tokens, c.out, c.in, true, dtype.F32)
			one.Split = true
			cases = append(cases, one)
		}
		return cases
	}, Benchmarks: func() (cases []optest.Case) {
		for _, c := range []struct{ tokens, out, in int }{{512, 2048, 2048}, {512, 1536, 576}, {256, 1408, 512}, {1, 2048, 2048}, {1, 1408, 512}} {
			for _, dt := range dtype.All {
				cases = append(cases, linearOf(c.tokens, c.out, c.in, false, dt))
			}
		}
		return cases
	}}
}

func TestLinear(t *testing.T) { linearTable().Test(t) }

func BenchmarkLinear(b *testing.B) { linearTable().Benchmark(b) }

// fusion is what LinearFused can do besides, with its reference.
type fusion struct {
	name string
	adds bool // the residual
	of   func(c *fusedCase) Fused
	want func(c *fusedCase) ref.Mat
}

// fusions have the tensors of a fusedCase.
var fusions = []fusion{
	{"residual", true, func(c *fusedCase) Fused {
		return Fused{Bias: c.on(&c.bias), Residual: c.residual32(), Scratch: c.scratch(), Halves: c.halves()}
	},
		func(c *fusedCase) ref.Mat { return ref.Add(ref.Linear(c.input(nil, 0), c.w, c.bias.Data), c.residual) }},
	{"swiglu", false, func(c *fusedCase) Fused { return Fused{Up: c.on(&c.up)} },
		func(c *fusedCase) ref.Mat {
			return ref.SwiGLU(ref.Linear(c.input(nil, 0), c.w, nil), ref.Linear(c.input(nil, 0), c.up, nil))
		}},
	{"swiglu, biases", false, func(c *fusedCase) Fused { return Fused{Up: c.on(&c.up), Bias: c.on(&c.bias), UpBias: c.on(&c.upBias)} },
		func(c *fusedCase) ref.Mat {
			return ref.SwiGLU(ref.Linear(c.input(nil, 0), c.w, c.bias.Data), ref.Linear(c.input(nil, 0), c.up, c.upBias.Data))
		}},
	{"norm", false, func(c *fusedCase) Fused {
		return Fused{Norm: c.on(&c.norm), Eps: 1e-5, Scratch: c.scratch(), Halves: c.halves()}
	},
		func(c *fusedCase) ref.Mat { return ref.Linear(c.input(c.norm.Data, 1e-5), c.w, nil) }},
	{"norm of weights plus one", false, func(c *fusedCase) Fused {
		return Fused{Norm: c.on(&c.norm), Eps: 1e-5, PlusOne: true, Scratch: c.scratch(), Halves: c.halves()}
	}, func(c *fusedCase) ref.Mat {
		return ref.Linear(c.input(weightsOf(c.norm, true), 1e-5), c.w, nil)
	}},
	{"norm of another dtype, residual", true, func(c *fusedCase) Fused {
		return Fused{Norm: c.as(&c.norm32, dtype.F32), Eps: 0.5, Scratch: c.scratch(), Halves: c.halves(), Residual: c.residual32()}
	}, func(c *fusedCase) ref.Mat {
		return ref.Add(ref.Linear(c.input(c.norm32.Data, 0.5), c.w, nil), c.residual)
	}},
	{"norm, swiglu, biases", false, func(c *fusedCase) Fused {
		return Fused{Norm: c.on(&c.norm), Eps: 1e-5, Scratch: c.scratch(), Halves: c.halves(), Up: c.on(&c.up), Bias: c.on(&c.bias), UpBias: c.on(&c.upBias)}
	}, func(c *fusedCase) ref.Mat {
		x := c.input(c.norm.Data, 1e-5)
		return ref.SwiGLU(ref.Linear(x, c.w, c.bias.Data), ref.Linear(x, c.up, c.upBias.Data))
	}},
}

// fusedCase is the operands of one shape.
type fusedCase struct {
	*bench
	x, w, up, bias, upBias, norm, norm32, residual ref.Mat
	dt                                             dtype.DType
	given                                          map[*ref.Mat]Tensor // those that are on the device already
	work                                           Tensor              // scratch that is
	half                                           bool                // the reference multiplies what toHalf makes of x
	way                                            linearKernel        // that ran last
}

// input is what the reference multiplies: x, normed unless norm is nil.
func (c *fusedCase) input(norm []float64, eps float64) ref.Mat {
	x := block(c.x, 0, c.x.Rows, 0, c.x.Cols)
	if norm != nil {
		x = ref.RMSNorm(x, norm, eps)
	}
	if c.half {
		for i := range x.Rows {
			half, unscale := halfWant(x.Row(i))
			for j, v := range half {
				x.Row(i)[j] = float64(v) * unscale
			}
		}
	}
	return x
}

func newFusedCase(b *bench, tokens, out, in int, dt dtype.DType) *fusedCase {
	return &fusedCase{
		bench: b, dt: dt, x: random(tokens, in), w: random(out, in), up: block(random(out+1, in), 0, out, 0, in), bias: random(1, out),
		upBias: block(random(2, out), 1, 2, 0, out), norm: random(1, in), norm32: random(1, in), residual: random(tokens, out),
	}
}

func (c *fusedCase) on(m *ref.Mat) Tensor { return c.as(m, c.dt) }

func (c *fusedCase) as(m *ref.Mat, d dtype.DType) Tensor {
	if x, ok := c.given[m]; ok {
		return x
	}
	return c.upload(*m, d)
}

func (c *fusedCase) residual32() Tensor { return c.as(&c.residual, dtype.F32) }

func (c *fusedCase) scratch() Tensor {
	if !c.work.IsZero() {
		return c.work
	}
	return c.empty(dtype.F32, c.x.Rows, c.x.Cols)
}

// halves holds some half of w's rows, or a quarter of them and of up's, so that products that use it take several pieces.
func (c *fusedCase) halves() Tensor {
	if c.dt == dtype.F16 || c.bench == nil {
		return Tensor{}
	}
	return c.empty(dtype.F32, 1, halvesOf(c.d, c.w.Rows/2+8, c.w.Cols, c.dt == dtype.F32))
}

// operands are the matrices that a fusion may take, and the dtypes that they are stored in.
func (c *fusedCase) operands() (m []*ref.Mat, d []dtype.DType) {
	return []*ref.Mat{&c.x, &c.w, &c.up, &c.bias, &c.upBias, &c.norm, &c.norm32}, []dtype.DType{dtype.F32, c.dt, c.dt, c.dt, c.dt, c.dt, dtype.F32}
}

// run computes y with the fusion. The residual is y itself where there is one.
func (c *fusedCase) run(of func(c *fusedCase) Fused) []float32 { return c.runBy(of, LinearFused) }

func (c *fusedCase) runBy(of func(c *fusedCase) Fused, linear func(r *vk.Recorder, y, x, w Tensor, f Fused)) []float32 {
	x, w, f := c.upload(c.x, dtype.F32), c.on(&c.w), of(c)
	y := f.Residual
	if y.IsZero() {
		y = c.empty(dtype.F32, c.x.Rows, c.w.Rows)
	}
	linear(c.r, y, x, w, f)
	return c.download(y)
}

// fusedOf is a LinearFused of a fusion. The residual is y itself where there is one.
func fusedOf(f fusion, tokens, out, in int, dt dtype.DType) optest.Case {
	c := newFusedCase(nil, tokens, out, in, dt)
	mats, dtypes := c.operands()
	var operands []optest.Input
	for i, m := range mats {
		operands = append(operands, optest.Input{Mat: *m, DType: dtypes[i]})
	}
	y := optest.Output{Rows: tokens, Cols: out}
	if f.adds {
		y.Start = c.residual
	}
	return optest.Case{
		Name: optest.Shape(tokens, out, in, f.name, dt), Of: dt, In: operands, Out: []optest.Output{y}, Extra: scratch(tokens, in),
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			c.given, c.work = map[*ref.Mat]Tensor{&c.residual: Tensor(out[0])}, Tensor(out[1])
			for i, x := range tensors(in) {
				c.given[mats[i]] = x
			}
			x, w, f := Tensor(in[0]), Tensor(in[1]), f.of(c)
			c.way = linearWay(r.Device(), x, w, f)
			LinearFused(r, Tensor(out[0]), x, w, f)
		},
		Bound: func() optest.Bound { return c.way.bound() },
		Want: func(in []ref.Mat) []ref.Mat {
			for i, m := range mats {
				*m = in[i]
			}
			return one(f.want(c))
		},
		Measured: tokens == 70, Flops: 2 * float64(tokens*out*in),
	}
}

func linearFusedTable() optest.Table {
	return optest.Table{Op: "linear_fused", Bound: linearBound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, s := range []struct{ tokens, out, in int }{
			{1, 1, 1}, {1, 67, 127}, {2, 5, 120}, {3, 37, 64}, {4, 33, 300}, // matrix-vector
			{5, 70, 120}, {9, 33, 16}, {33, 35, 31}, {70, 131, 48}, {17, 64, 24}, {19, 44, 1024},
		} {
			for _, dt := range dtype.All {
				for _, f := range fusions {
					cases = append(cases, fusedOf(f, s.tokens, s.out, s.in, dt))
				}
			}
		}
		return cases
	}}
}

func TestLinearFused(t *testing.T) { linearFusedTable().Test(t) }

func BenchmarkLinearFused(b *testing.B) { linearFusedTable().Benchmark(b) }

// A token's outputs do not depend on the tokens beside it, nor on how w and x are cut to be bound.
func TestLinearFusedBatchAndSplit(t *testing.T) {
	whole, parts := vktest.Open(t, vk.Options{}), vktest.Open(t, vk.Options{StorageRange: 1 << 20})
	for _, s := range []struct {
		tokens, few, out, in int
		batch                bool
	}{{4, 1, 8193, 64, false}, {300, 5, 1030, 1024, false}, {21, 1, 66, 64, true}} {
		for _, f := range fusions {
			of := func(c *fusedCase) Fused {
				fused := f.of(c)
				fused.Batch = s.batch
				return fused
			}
			all := newFusedCase(newBench(t, whole), s.tokens, s.out, s.in, dtype.F32).run(of)
			if split := newFusedCase(newBench(t, parts), s.tokens, s.out, s.in, dtype.F32).run(of); !slices.Equal(all, split) {
				t.Errorf("%v, %s: split, the numbers differ", s, f.name)
			}
			c := newFusedCase(newBench(t, whole), s.tokens, s.out, s.in, dtype.F32)
			c.x, c.residual = block(c.x, 0, s.few, 0, s.in), block(c.residual, 0, s.few, 0, s.out)
			if got := c.run(of); !slices.Equal(got, all[:len(got)]) {
				t.Errorf("%v, %s: %d tokens differ from the same of %d", s, f.name, s.few, s.tokens)
			}
		}
	}
	vktest.Clean(t)
}

// Every loop goes all the way: lavapipe 22.3 would stop it without a word.
func TestLinearDeep(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		cases := []struct{ tokens, in int }{{1, linearDepth}, {1, linearDepth - 1}, {5, linearDepth}, {5, linearDepth - 1}}
		if !d.Info.Has(vk.LoopLimit) {
			cases = append(cases, struct{ tokens, in int }{5, 6 * linearDepth}) // 65,535 iterations of linear.comp are 200,000
		}
		for _, c := range cases {
			newBench(t, d).linear(random(c.tokens, c.in), random(3, c.in), ref.Mat{}, dtype.BF16)
		}
	})
}

// A token's outputs do not depend on the tokens beside it.
func TestLinearBatch(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, depth := range []int{126, 128} {
			x, w := random(71, depth), random(67, depth)
			for _, ns := range [][]int{{4, 1, 2, 3}, {71, 5, 18, 33}} {
				var all []float32
				for _, n := range ns {
					got := newBench(t, d).linear(block(x, 0, n, 0, depth), w, ref.Mat{}, dtype.F16)
					if all == nil {
						all = got
					} else if !slices.Equal(got, all[:n*w.Rows]) {
						t.Errorf("depth %d: %d tokens differ from the same of %d", depth, n, ns[0])
					}
				}
			}
		}
	})
}

func TestLinearShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	y, x, w, bias := b.empty(dtype.F32, 2, 3), b.empty(dtype.F32, 2, 4), b.empty(dtype.F16, 3, 4), b.empty(dtype.F16, 1, 3)
	refused(t, d, "other outputs", func(r *vk.Recorder) { Linear(r, y.Reshape(3, 2), x, w, bias) })
	refused(t, d, "other inputs", func(r *vk.Recorder) { Linear(r, y, x, w.Reshape(4, 3), bias) })
	refused(t, d, "a bias of another dtype", func(r *vk.Recorder) { Linear(r, y, x, w, y.RowRange(0, 1)) })
	refused(t, d, "a bias of another size", func(r *vk.Recorder) { Linear(r, y, x, w, w.RowRange(0, 1)) })
	refused(t, d, "an x of another dtype", func(r *vk.Recorder) { Linear(r, y, Of(x.View, dtype.F16, 2, 4), w, bias) })
	fused := func(what string, f Fused) {
		refused(t, d, what, func(r *vk.Recorder) { LinearFused(r, y, x, w, f) })
	}
	fused("an up of another shape", Fused{Up: w.RowRange(0, 2)})
	fused("an up of another dtype", Fused{Up: b.empty(dtype.BF16, 3, 4)})
	fused("one bias of two", Fused{Up: w, Bias: bias})
	fused("an up's bias without up", Fused{Bias: bias, UpBias: bias})
	fused("up and residual", Fused{Up: w, Residual: y})
	fused("a residual of another shape", Fused{Residual: x})
	fused("a norm of another size", Fused{Norm: bias, Scratch: x})
	fused("a norm without scratch", Fused{Norm: w.RowRange(0, 1)})
	refused(t, d, "nothing", func(r *vk.Recorder) { Linear(r, Tensor{}, Tensor{}, Tensor{}, Tensor{}) })

	deep := newBench(t, d)
	Linear(deep.r, deep.empty(dtype.F32, 1, 1), deep.empty(dtype.F32, 1, linearDepth+1), deep.empty(dtype.F32, 1, linearDepth+1), Tensor{})
	if limited := d.Info.Has(vk.LoopLimit); errors.Is(deep.r.Err(), vk.ErrLimit) != limited || !limited && deep.r.Err() != nil {
		t.Errorf("%d inputs, loop limit %t: error %v", linearDepth+1, limited, deep.r.Err())
	}
}

// Linear is LinearFused with nothing but a bias.
func Linear(r *vk.Recorder, y, x, w, bias Tensor) { LinearFused(r, y, x, w, Fused{Bias: bias}) }
