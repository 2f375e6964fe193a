package train_test

import (
	"math"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// factorsOf are A and B transposed of the matrices of a layer, as a training of updates saves them.
func factorsOf(t *testing.T, trained trainer, l *model.Layer, rank int) (list [][2]ref.Mat) {
	t.Helper()
	raw := stateOf(t, trained)
	next := func(cols int) ref.Mat {
		x, size := ref.NewMat(rank, cols), 4*rank*cols
		values := make([]float32, rank*cols)
		dtype.F32.Decode(values, raw[size:2*size]) // of the weights, masters and two moments
		for i, v := range values {
			x.Data[i] = float64(v)
		}
		raw = raw[4*size:]
		return x
	}
	for r, w := range l.Weights {
		if !w.IsZero() && arch.Role(r).Info().Kind == arch.Matrix {
			list = append(list, [2]ref.Mat{next(w.Cols), next(w.Rows)})
		}
	}
	if len(raw) != 0 {
		t.Fatalf("%d bytes of the state are left", len(raw))
	}
	return list
}

const lowRankBound = 1e-4 // of gradients that are summed in two orders, as of TestTrainingGolden

// The gradients of the factors of every matrix of every architecture are those of the weights with their updates, taken further; what is
// given for these is the weights and the product of the factors.
func TestLowRankGradients(t *testing.T) {
	const rank = 3
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, name := range differentiable(t) {
			spec, err := modeltest.Named(name)
			if err != nil {
				t.Fatal(err)
			}
			spec.Vocab, spec.DType = 97, dtype.F32
			m, _ := spec.Open(t)
			f := trainingOn(t, d, m, 3, 13, 2)
			runAll(t, f, m)
			trained, err := train.NewLayer(t.Context(), f, m, m, 1, train.MSE, train.Setup{Rank: rank, Seed: 3})
			if err != nil {
				t.Fatal(err)
			}
			p := adam
			for p.Step = 1; p.Step <= 2; p.Step++ { // B is no longer 0
				stepLayer(t, f, trained, train.MSE, 1, 3)
				if _, err := trained.Step(t.Context(), 1, p); err != nil {
					t.Fatal(err)
				}
			}
			stepLayer(t, f, trained, train.MSE, 1, 3)
			got, err := trained.Gradients(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			values, err := trained.Values(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			factors := factorsOf(t, trained, m.Layers[1], rank)
			trained.Close()
			if len(got) != 2*len(factors) {
				t.Fatalf("%s: %d gradients of %d matrices", name, len(got), len(factors))
			}

			moved := *m
			moved.Layers = append([]*model.Layer{}, m.Layers...)
			moved.Layers[1] = model.NewLayer(values)
			whole, err := train.NewLayer(t.Context(), f, m, &moved, 1, train.MSE, train.Setup{})
			if err != nil {
				t.Fatal(err)
			}
			stepLayer(t, f, whole, train.MSE, 1, 3)
			grads, err := whole.Gradients(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			whole.Close()
			k := 0
			for r, w := range m.Layers[1].Weights {
				if w.IsZero() || arch.Role(r).Info().Kind != arch.Matrix {
					continue
				}
				a, b, dw := factors[k][0], factors[k][1], ref.NewMat(w.Rows, w.Cols)
				for i, v := range grads[r] {
					dw.Data[i] = float64(v)
				}
				// y = x·Wᵀ with x the identity: dy is dWᵀ.
				one := ref.NewMat(w.Cols, w.Cols)
				for i := range w.Cols {
					one.Data[i*w.Cols+i] = 1
				}
				da, db := ref.LowRankBackward(ref.Transpose(dw), one, a, b)
				nearAll(t, name+" "+w.Name+", A", got[2*k], rounded(da), lowRankBound)
				nearAll(t, name+" "+w.Name+", B", got[2*k+1], rounded(db), lowRankBound)
				old := ref.NewMat(w.Rows, w.Cols)
				old.Data = decoded(t, w)
				nearAll(t, name+" "+w.Name, floats(decoded(t, values[r])), rounded(ref.LowRank(old, a, b)), 1e-6)
				if k++; norm(b) == 0 {
					t.Errorf("%s, %s: B is 0 after two steps", name, w.Name)
				}
			}
		}
	})
}

func decoded(t *testing.T, w model.Weight) []float64 {
	values := modeltest.Floats(t, w)
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}

func floats(list []float64) (out []float32) {
	for _, v := range list {
		out = append(out, float32(v))
	}
	return out
}

func norm(m ref.Mat) float64 {
	sum := 0.0
	for _, v := range m.Data {
		sum += v * v
	}
	return math.Sqrt(sum)
}

// Updates of the full rank learn what all weights learn, those of rank 1 less, norms and biases stay, and another seed is another A.
func TestLowRankLearns(t *testing.T) {
	m, _ := modeltest.Spec{Hidden: 32, Intermediate: 40, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 61, Context: 32}.Open(t)
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		f := trainingOn(t, d, m, 4, 16, 2)
		runAll(t, f, m)
		learn := func(setup train.Setup) (first, last float64, values []model.Weight) {
			trained, err := train.NewLayer(t.Context(), f, m, m, 0, train.MSE, setup)
			if err != nil {
				t.Fatal(err)
			}
			defer trained.Close()
			p := adam
			p.LR = 5e-3
			for p.Step = 1; p.Step <= 60; p.Step++ {
				stepLayer(t, f, trained, train.MSE, 0, 2)
				s, err := trained.Step(t.Context(), 1, p)
				if err != nil {
					t.Fatal(err)
				}
				if last = s.Loss; p.Step == 1 {
					first = last
				}
			}
			if values, err = trained.Values(t.Context()); err != nil {
				t.Fatal(err)
			}
			return first, last, values
		}
		start, all, _ := learn(train.Setup{})
		first, full, values := learn(train.Setup{Rank: 32})
		_, one, _ := learn(train.Setup{Rank: 1})
		_, other, _ := learn(train.Setup{Rank: 1, Seed: 1})
		t.Logf("%.3g at first; all weights %.3g, rank 32 %.3g, rank 1 %.3g and %.3g", start, all, full, one, other)
		if first != start {
			t.Errorf("the first loss is %v with updates of 0, %v without", first, start)
		}
		if !(full < 2*all && full < start/5 && full < one && one < start) || one == other {
			t.Errorf("%v at first; all weights %v, rank 32 %v, rank 1 %v, with another seed %v", start, all, full, one, other)
		}
		for r, w := range m.Layers[0].Weights {
			if !w.IsZero() && (string(modeltest.Bytes(t, values[r])) == string(modeltest.Bytes(t, w))) != (arch.Role(r).Info().Kind != arch.Matrix) {
				t.Errorf("%s: norms and biases stay, matrices do not", w.Name)
			}
		}
	})
}
