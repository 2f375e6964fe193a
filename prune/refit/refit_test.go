package refit_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// scorer holds the states of a model, and knows it without layer gone.
func scorer(t *testing.T, devices []*vk.Device, m *model.Model, windows [][]uint32, o run.Options, gone int) (*score.Scorer, *model.Model) {
	t.Helper()
	s, err := score.NewOn(devices, m, windows, func(*vk.Device) run.Options { return o })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.HoldOnly(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	var keep []int
	for l := range m.Layers {
		if l != gone {
			keep = append(keep, l)
		}
	}
	student, err := m.With(slices.Delete(slices.Clone(m.Layers), gone, gone+1), keep)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), student, 0, 0); err != nil {
		t.Fatal(err)
	}
	return s, student
}

// TestOracle drops a layer of a random model of every architecture and fits the one before. The correction is that of float64 from states in
// float64, but for the states' f32: 1e-4 of its length. So are the losses, to 1e-6 of that before.
func TestOracle(t *testing.T) {
	var back atomic.Int32 // of o_proj's fits that the MLP made worse
	defer func() {
		if back.Load() == 0 {
			t.Error("no fit of o_proj was taken back: nothing tests that")
		}
	}()
	for _, name := range modeltest.Distinct() {
		spec, err := modeltest.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		spec.DType = dtype.F32
		t.Run(name, func(t *testing.T) {
			m, dir := spec.Open(t)
			oracle, err := ref.LoadModel(dir)
			if err != nil {
				t.Fatal(err)
			}
			windows := modeltest.Windows(m.Config.VocabSize, 8, 29)
			const gone, every = 1, 4
			windows[3], windows[7] = windows[0], windows[4] // random tokens tell nothing of others: those that are held out repeat some
			projections := refit.Both
			if m.Config.OutputNorms {
				projections = refit.Down
			}
			vktest.Each(t, func(t *testing.T, d *vk.Device) {
				s, student := scorer(t, []*vk.Device{d}, m, windows, score.Options(d), gone)
				o := refit.Options{Lambdas: []float64{0.3}, Projections: projections, HeldOut: every}
				if err := o.Check(student, len(windows)); err != nil {
					t.Fatal(err)
				}
				made, fits, err := refit.Layer(t.Context(), s, student, refit.Target{Layer: gone - 1, Boundary: gone + 1}, o)
				if err != nil {
					t.Fatal(err)
				}
				var roles []arch.Role
				for _, f := range fits {
					role := arch.Down
					if f.Projection == m.Config.Operation(arch.O) {
						role = arch.O
					}
					roles = append(roles, role)
				}
				wide, all := fitAll(oracle, windows, gone, every, roles, 0.3)
				for i, f := range fits {
					if want := all[i]; !(math.Abs(f.Before-want.before) <= 1e-6*want.before && math.Abs(f.After-want.after) <= 1e-6*want.before) || f.Taken != want.taken {
						t.Errorf("%s: losses %v → %v (taken: %v), want %+v", f.Projection, f.Before, f.After, f.Taken, want)
					}
				}
				if len(all) == 2 && !all[0].taken && all[0].after < all[0].before {
					back.Add(1)
				}
				if made == nil {
					t.Fatal("nothing was fitted")
				}
				was := student.Layers[gone-1]
				compare(t, "o_proj", made.Weights[arch.O], was.Weights[arch.O], wide.O.Data)
				compare(t, "o_proj's bias", made.Weights[arch.OBias], was.Weights[arch.OBias], wide.OBias)
				if !m.Config.Sparse(gone - 1) {
					compare(t, "down_proj", made.Weights[arch.Down], was.Weights[arch.Down], wide.Down.Data)
					compare(t, "down_proj's bias", made.Weights[arch.DownBias], was.Weights[arch.DownBias], wide.DownBias)
				}
			})
		})
	}
}

// losses are of the windows held out, a token.
type losses struct {
	before, after float64
	taken         bool
}

// fitAll fits projections of layer gone−1 as Layer does, in float64.
func fitAll(m *ref.Model, windows [][]uint32, gone, every int, roles []arch.Role, lambda float64) (l ref.Layer, all []losses) {
	l = m.Layers[gone-1]
	for _, role := range roles {
		all = append(all, fit(m, &l, windows, gone, every, role, lambda))
	}
	if len(all) == 2 && all[0].taken && all[1].before > all[0].before {
		other := m.Layers[gone-1]
		alone := fit(m, &other, windows, gone, every, arch.Down, lambda)
		if min(alone.before, alone.after) <= min(all[1].before, all[1].after) {
			all[0].taken = false
			return other, []losses{all[0], alone}
		}
	}
	return l, all
}

// fit fits a projection of layer gone−1, of which l are the weights, as Layer does, in float64, and corrects l.
func fit(m *ref.Model, l *ref.Layer, windows [][]uint32, gone, every int, role arch.Role, lambda float64) (of losses) {
	var a, e [2]ref.Mat // fitted, held out
	var w [2][]float64
	for i, window := range windows {
		var tokens []int
		for _, id := range window {
			tokens = append(tokens, int(id))
		}
		states := m.HiddenStates(tokens)
		taps, _, lack, weight := l.Lack(m.Config, states[gone-1], states[gone+1])
		read := taps.FFN
		if role == arch.O {
			read = taps.Attention
		}
		set := 0
		if i%every == every-1 {
			set = 1
		}
		if a[set].Rows == 0 {
			a[set], e[set], w[set] = read, lack, weight
		} else {
			a[set], e[set], w[set] = ref.ConcatRows(a[set], read), ref.ConcatRows(e[set], lack), append(w[set], weight...)
		}
	}
	weight, bias := &l.Down, &l.DownBias
	if role == arch.O {
		weight, bias = &l.O, &l.OBias
	}
	d, _, ok := ref.Ridge(a[0], e[0], w[0], lambda, *bias != nil)
	if !ok {
		panic("no fit")
	}
	of = losses{before: ref.RidgeLoss(a[1], e[1], w[1], ref.NewMat(d.Rows, d.Cols)) / float64(a[1].Rows), after: ref.RidgeLoss(a[1], e[1], w[1], d) / float64(a[1].Rows)}
	if of.taken = of.after < of.before; !of.taken {
		return of
	}
	fitted := ref.NewMat(weight.Rows, weight.Cols)
	for r := range fitted.Rows {
		for c := range fitted.Row(r) {
			fitted.Row(r)[c] = weight.At(r, c) + d.At(r, c)
		}
	}
	*weight = fitted
	if *bias != nil {
		*bias = slices.Clone(*bias)
		for r := range *bias {
			(*bias)[r] += d.At(r, d.Cols-1)
		}
	}
	return of
}

// compare says whether a correction is the oracle's.
func compare(t *testing.T, what string, made, was model.Weight, want []float64) {
	t.Helper()
	compareTo(t, 1e-4, what, made, was, want)
}

// compareTo says so to a share of its length: where next to no ridge holds the solution, states in f32 tell more.
func compareTo(t *testing.T, share float64, what string, made, was model.Weight, want []float64) {
	t.Helper()
	if was.IsZero() {
		return
	}
	now, before := floats(made), floats(was)
	var off, length float64
	for i, v := range want {
		d := v - float64(before[i])
		off += (float64(now[i]-before[i]) - d) * (float64(now[i]-before[i]) - d)
		length += d * d
	}
	if !(math.Sqrt(off) <= share*math.Sqrt(length)+1e-7*math.Sqrt(float64(len(want)))) { // the second: a weight's own f32
		t.Errorf("%s: the correction is off by %.2g of its length %.2g", what, math.Sqrt(off/length), math.Sqrt(length))
	}
}

func floats(w model.Weight) []float32 {
	values, err := w.Floats()
	if err != nil {
		panic(err)
	}
	return values
}

// TestBits fits a layer in other batches, on two devices, with little memory for sums, and with states on the host: the bytes are the same.
func TestBits(t *testing.T) {
	spec, err := modeltest.Named("opt")
	if err != nil {
		t.Fatal(err)
	}
	spec.Intermediate = 300
	m, _ := spec.Open(t)
	windows := modeltest.Windows(m.Config.VocabSize, 9, 31)
	windows[2], windows[5], windows[8] = windows[0], windows[3], windows[7]
	var want []byte
	var loss float64
	for _, c := range []struct {
		name    string
		o       run.Options
		memory  int64
		devices int
	}{
		{"plain", run.Options{BatchTokens: 256, KeepWeights: true}, 0, 1},
		{"small batches", run.Options{BatchTokens: 31}, 0, 1},
		{"states on the host", run.Options{BatchTokens: 93, StatesOnHost: true}, 0, 1},
		{"two devices", run.Options{BatchTokens: 62}, 0, 2},
		{"little memory", run.Options{BatchTokens: 62}, 6 << 20, 1},
	} {
		var devices []*vk.Device
		for range c.devices {
			devices = append(devices, vktest.Open(t, vk.Options{MaxMemory: c.memory}))
		}
		s, student := scorer(t, devices, m, windows, c.o, 1)
		made, fits, err := refit.Layer(t.Context(), s, student, refit.Target{Layer: 0, Boundary: 2}, refit.Options{HeldOut: 3})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if made == nil {
			t.Fatalf("%s: nothing was fitted: %+v", c.name, fits)
		}
		got := append(slices.Clone(modeltest.Bytes(t, made.Weights[arch.Down])), modeltest.Bytes(t, made.Weights[arch.DownBias])...)
		if want == nil {
			want, loss = got, fits[0].After
		}
		if !bytes.Equal(got, want) || fits[0].After != loss {
			t.Errorf("%s: other bytes than plainly, or another loss: %v, %v", c.name, fits[0].After, loss)
		}
	}
}

// TestRefusals has options out of range.
func TestRefusals(t *testing.T) {
	spec, err := modeltest.Named("gemma2")
	if err != nil {
		t.Fatal(err)
	}
	m, _ := spec.Open(t)
	for _, o := range []refit.Options{{Projections: "up"}, {HeldOut: 1}, {HeldOut: 9}, {Lambdas: []float64{0}}, {Lambdas: []float64{math.NaN()}}, {Projections: refit.Both}} {
		if err := o.Check(m, 8); err == nil {
			t.Errorf("%+v was not refused", o)
		}
	}
	if err := (refit.Options{}).Check(m, 8); err != nil {
		t.Error(err)
	}
}

// TestTransform drops a layer and puts a linear map in its place: that of float64.
func TestTransform(t *testing.T) {
	const gone = 1
	at := refit.Target{Layer: gone - 1, Boundary: gone + 1}
	for _, name := range []string{"llama", "opt", "gemma2", "granite"} {
		spec, err := modeltest.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		spec.DType = dtype.F32
		m, dir := spec.Open(t)
		oracle, err := ref.LoadModel(dir)
		if err != nil {
			t.Fatal(err)
		}
		windows := modeltest.Windows(m.Config.VocabSize, 8, 29)
		windows[7] = windows[0] // random tokens tell nothing of others
		vktest.Each(t, func(t *testing.T, d *vk.Device) {
			s, student := scorer(t, []*vk.Device{d}, m, windows, score.Options(d), gone)
			given := student.Layers[gone-1]
			same := func(made *model.Layer, want ref.Layer) {
				t.Helper()
				compareTo(t, 1e-3, name+": down_proj", made.Weights[arch.Down], given.Weights[arch.Down], want.Down.Data)
				if want.DownBias != nil {
					compareTo(t, 1e-3, name+": bias", made.Weights[arch.DownBias], given.Weights[arch.DownBias], want.DownBias)
				}
			}
			made, fit, err := refit.Transform(t.Context(), s, student, at)
			if err != nil {
				t.Fatal(err)
			}
			if made == nil || !fit.Transform || !(fit.After < fit.Before) || fit.Rounds != 0 {
				t.Fatalf("%s: %+v", name, fit)
			}
			squares, cosines := transformed(t, oracle, windows[:7], gone, 1, false)
			same(made, squares)

			made, fit, err = refit.TransformCosine(t.Context(), s, student, at)
			if m.Config.OutputNorms {
				if err == nil || !strings.Contains(err.Error(), "norm behind its MLP") {
					t.Errorf("%s: cosines behind a norm: %v", name, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if made == nil || !fit.Transform || !(fit.After < fit.Before) || fit.Rounds == 0 {
				t.Fatalf("%s: %+v", name, fit)
			}
			want, better := transformed(t, oracle, windows[:7], gone, fit.Rounds, true)
			same(made, want)
			if better >= cosines { // of the same tokens, the squares' map is not the best
				t.Errorf("%s: 1 − cos is %v after %d rounds, and %v by least squares", name, better, fit.Rounds, cosines)
			}
		})
	}
}

// transformed is the layer below the one that is gone, with what Transform makes of it in float64, or so many rounds of TransformCosine; and the
// mean of 1 − cos that is left.
func transformed(t *testing.T, oracle *ref.Model, windows [][]uint32, gone, rounds int, cosine bool) (l ref.Layer, left float64) {
	l = oracle.Layers[gone-1]
	for round := 0; ; round++ {
		var z, e ref.Mat
		var weights []float64
		left = 0
		for i, window := range windows {
			tokens := make([]int, len(window))
			for t, id := range window {
				tokens[t] = int(id)
			}
			states := oracle.HiddenStates(tokens)
			_, given, lack, w := l.Lack(oracle.Config, states[gone-1], states[gone+1])
			out, _ := l.Forward(oracle.Config, states[gone-1])
			losses, _ := ref.CosineLoss(out, states[gone+1], 1)
			for j, loss := range losses {
				left += loss / float64(len(losses)*len(windows))
				if !cosine {
					w[j] = 1
				}
			}
			if cosine {
				scale := 1.0
				if oracle.Config.ResidualScale != 0 {
					scale = 1 / oracle.Config.ResidualScale
				}
				lack, w = ref.CosineTarget(out, states[gone+1], scale)
			}
			weights = append(weights, w...)
			if i == 0 {
				z, e = given, lack
			} else {
				z, e = ref.ConcatRows(z, given), ref.ConcatRows(e, lack)
			}
		}
		if round == rounds {
			return l, left
		}
		d, _, ok := ref.Ridge(z, e, weights, 1e-4, false)
		if !ok {
			t.Fatal("no fit")
		}
		times := func(w ref.Mat) ref.Mat { // (1 + d)·w
			out := ref.NewMat(w.Rows, w.Cols)
			for r := range w.Rows {
				for c := range w.Cols {
					v := w.At(r, c)
					for k := range d.Cols {
						v += d.At(r, k) * w.At(k, c)
					}
					out.Row(r)[c] = v
				}
			}
			return out
		}
		l.Down = times(l.Down)
		if l.DownBias != nil {
			l.DownBias = times(ref.Mat{Rows: len(l.DownBias), Cols: 1, Data: l.DownBias}).Data
		}
	}
}
