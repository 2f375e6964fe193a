package refit

import (
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// problem is a regression of random tokens, whose inputs are like one another.
func problem(rng *rand.Rand, tokens, in, out int, bias bool) (gram *mat.SymDense, cross, w *mat.Dense, total float64) {
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
			total += e.At(t, o) * e.At(t, o)
		}
	}
	w = mat.NewDense(out, in, nil)
	for o := range out {
		for i := range in {
			w.Set(o, i, rng.NormFloat64())
		}
	}
	gram, cross = mat.NewSymDense(n, nil), new(mat.Dense)
	gram.SymOuterK(1, a.T())
	cross.Mul(e.T(), a)
	return gram, cross, w, total
}

// ridge is the least of Σ‖(W−w)a − e‖² + λm‖W−w‖² over the W whose columns gone are zero, without the constant Σ‖e‖².
func ridge(t *testing.T, gram *mat.SymDense, cross, w *mat.Dense, gone []int, lambda float64) float64 {
	n, in := gram.SymmetricDim(), w.RawMatrix().Cols
	mean := 0.0
	for i := range in {
		mean += gram.At(i, i) / float64(in)
	}
	full := mat.NewSymDense(n, nil)
	full.CopySym(gram)
	for i := range n {
		full.SetSym(i, i, full.At(i, i)+lambda*mean)
	}
	var stay []int
	for i := range n {
		if !slices.Contains(gone, i) {
			stay = append(stay, i)
		}
	}
	loss := 0.0
	for o := range w.RawMatrix().Rows {
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

// TestSurgeon takes out one input after another. Each time no other would have raised the loss less, all others fitted again.
func TestSurgeon(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, bias := range []bool{false, true} {
		const in, lambda = 9, 0.1
		var before []int // that are gone
		for keep := in - 1; keep > 2; keep-- {
			rng = rand.New(rand.NewPCG(3, 4))
			gram, cross, w, _ := problem(rng, 40, in, 5, bias)
			whole := mat.NewSymDense(gram.SymmetricDim(), nil)
			whole.CopySym(gram)
			list, err := surgeonBy(1, gram, cross, w, keep, lambda)
			if err != nil {
				t.Fatal(err)
			}
			var gone []int
			for i := range in {
				if !slices.Contains(list, i) {
					gone = append(gone, i)
				}
			}
			best, least := -1, 0.0
			for i := range in {
				if slices.Contains(before, i) {
					continue
				}
				if loss := ridge(t, whole, cross, w, append(slices.Clone(before), i), lambda); best < 0 || loss < least {
					best, least = i, loss
				}
			}
			want := append(slices.Clone(before), best)
			slices.Sort(want)
			if !slices.Equal(gone, want) {
				t.Fatalf("bias %v, %d stay: %v are gone, want %v", bias, keep, gone, want)
			}
			before = gone
		}
	}
	gram, cross, w, _ := problem(rng, 200, 100, 7, true)
	list, err := surgeon(gram, cross, w, 50, 0.1)
	if err != nil || len(list) != 50 || !slices.IsSorted(list) || list[49] >= 100 {
		t.Errorf("50 of 100: %v, %v", list, err)
	}
}

// TestUnion chooses neurons of two layers of random models on every device: those that float64 chooses.
func TestUnion(t *testing.T) {
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
		windows := modeltest.Windows(m.Config.VocabSize, 16, 29)
		const l, boundary, every = 0, 2, 4
		first := m.Layers[l]
		reading, err := merge.Reading(m.Config, m.Layers[l+1], first)
		if err != nil {
			t.Fatal(err)
		}
		both, err := merge.Union(first, reading)
		if err != nil {
			t.Fatal(err)
		}
		wide := oracle.Layers[l]
		wide.Gate, wide.Up, wide.Down = wideMat(both, arch.Gate), wideMat(both, arch.Up), wideMat(both, arch.Down)
		wide.GateBias, wide.UpBias = wideMat(both, arch.GateBias).Data, wideMat(both, arch.UpBias).Data
		n := 2 * m.Config.IntermediateSize
		if wide.DownBias != nil {
			n++
		}
		gram, cross := mat.NewSymDense(n, nil), mat.NewDense(m.Config.HiddenSize, n, nil)
		for i, window := range windows {
			if i%every == every-1 {
				continue
			}
			tokens := make([]int, len(window))
			for t, id := range window {
				tokens[t] = int(id)
			}
			states := oracle.HiddenStates(tokens)
			taps, _, lack, weight := wide.Lack(oracle.Config, states[l], states[boundary])
			for t, w := range weight {
				a := append(slices.Clone(taps.FFN.Row(t)), 1)[:n]
				gram.SymRankOne(gram, w, mat.NewVecDense(n, a))
				cross.RankOne(cross, w, mat.NewVecDense(lack.Cols, slices.Clone(lack.Row(t))), mat.NewVecDense(n, a))
			}
		}
		want, err := surgeon(gram, cross, dense(both.Weights[arch.Down]), m.Config.IntermediateSize, unionLambda)
		if err != nil {
			t.Fatal(err)
		}
		vktest.Each(t, func(t *testing.T, d *vk.Device) {
			s, err := score.NewWith(d, m, windows, Room(score.Options(d), d, m, 29))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.HoldOnly(t.Context(), m, nil); err != nil {
				t.Fatal(err)
			}
			if err := s.Update(t.Context(), m, 0, 0); err != nil {
				t.Fatal(err)
			}
			kept, err := Union(t.Context(), s, m, l, boundary, Options{HeldOut: every})
			if err != nil {
				t.Fatal(err)
			}
			got := slices.Clone(kept[0])
			for _, k := range kept[1] {
				got = append(got, k+m.Config.IntermediateSize)
			}
			missing := 0
			for _, k := range want {
				if !slices.Contains(got, k) {
					missing++
				}
			}
			if len(got) != len(want) || missing > len(want)/50 { // of two that cost the same, f32 may take the other
				t.Errorf("%s: %d of %d neurons are others than in float64", name, missing, len(want))
			}
		})
	}
}

// wideMat is a weight as the oracle has it.
func wideMat(l *model.Layer, role arch.Role) ref.Mat {
	w := l.Weights[role]
	if w.IsZero() {
		return ref.Mat{}
	}
	return ref.Mat{Rows: w.Rows, Cols: w.Cols, Data: dense(w).RawMatrix().Data}
}

func dense(w model.Weight) *mat.Dense {
	out, err := weightsOf(w)
	if err != nil {
		panic(err)
	}
	return out
}
