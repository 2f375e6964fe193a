package model_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// values are the parts of a reference layer, by Part.
func values(l *ref.Layer) [][]float64 {
	return [][]float64{
		model.InputNorm: l.InputNorm, model.InputNormBias: l.InputNormBias, model.Q: l.Q.Data, model.K: l.K.Data, model.V: l.V.Data, model.QBias: l.QBias,
		model.KBias: l.KBias, model.VBias: l.VBias, model.QNorm: l.QNorm, model.KNorm: l.KNorm, model.O: l.O.Data, model.OBias: l.OBias, model.PostNorm: l.PostNorm,
		model.PostNormBias: l.PostNormBias, model.Gate: l.Gate.Data, model.GateBias: l.GateBias, model.Up: l.Up.Data, model.UpBias: l.UpBias,
		model.Down: l.Down.Data, model.DownBias: l.DownBias,
	}
}

// slopes compares gradients with central differences of a loss in float64, at the largest and some other elements of each tensor.
func slopes(t *testing.T, what string, got [][]float32, weights [][]float64, loss func() float64) {
	t.Helper()
	const h, bound = 1e-5, 1e-3
	rng := rand.New(rand.NewPCG(3, 4))
	noise := 0.0 // of f32, which is all that the bias of keys has: it changes nothing
	for _, g := range got {
		for _, v := range g {
			noise = max(noise, 1e-6*math.Abs(float64(v)))
		}
	}
	for p, w := range weights {
		if len(w) != len(got[p]) {
			t.Fatalf("%s: tensor %d: %d gradients of %d weights", what, p, len(got[p]), len(w))
		}
		if len(w) == 0 {
			continue
		}
		squares, largest := 0.0, 0
		for i, g := range got[p] {
			if squares += float64(g) * float64(g); math.Abs(float64(g)) > math.Abs(float64(got[p][largest])) {
				largest = i
			}
		}
		rms := math.Sqrt(squares / float64(len(w)))
		for _, i := range []int{largest, rng.IntN(len(w)), rng.IntN(len(w))} {
			was := w[i]
			w[i] = was + h
			up := loss()
			w[i] = was - h
			slope := (up - loss()) / (2 * h)
			w[i] = was
			if !(math.Abs(float64(got[p][i])-slope) <= bound*(math.Abs(slope)+rms)+noise) {
				t.Errorf("%s: tensor %d, element %d: gradient %v, slope %v", what, p, i, got[p][i], slope)
			}
		}
	}
}

// architecture is a small model of an architecture, and the same in float64.
func architecture(t *testing.T, name string, change func(s *modeltest.Spec)) (*model.Model, *ref.Model) {
	t.Helper()
	spec, err := modeltest.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	spec.Vocab = 199
	if change != nil {
		change(&spec)
	}
	m, dir := spec.Open(t)
	oracle, err := ref.LoadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m, oracle
}

// normal is a matrix of standard normal values, the same in f32.
func normal(rng *rand.Rand, rows, cols int) (ref.Mat, []float32) {
	m, f := ref.NewMat(rows, cols), make([]float32, rows*cols)
	for i := range f {
		f[i] = float32(rng.NormFloat64())
		m.Data[i] = float64(f[i])
	}
	return m, f
}

// windowsOf cuts a matrix into windows of rows.
func windowsOf(m ref.Mat, window int) (list []ref.Mat) {
	for at := 0; at < m.Rows; at += window {
		list = append(list, ref.Mat{Rows: window, Cols: m.Cols, Data: m.Data[at*m.Cols : (at+window)*m.Cols]})
	}
	return list
}

// Gradients of a layer of every architecture are the slopes of the loss that the reference computes.
func TestTrainingArchitectures(t *testing.T) {
	for i, name := range modeltest.Names() {
		t.Run(name, func(t *testing.T) {
			m, oracle := architecture(t, name, nil)
			windows, window := 3, 13
			if i%2 == 1 {
				windows, window = 2, 16
			}
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			hidden, l := m.Config.HiddenSize, 1
			x, x32 := normal(rng, windows*window, hidden)
			y, y32 := normal(rng, windows*window, hidden)
			each := vktest.Each
			if name == "llama" || name == "qwen3-window" {
				each = vktest.EachTier
			}
			each(t, func(t *testing.T, d *vk.Device) {
				f := trainingOn(t, d, m, windows, window, windows)
				for _, objective := range []model.Objective{model.MSE, []model.Objective{model.KL, model.Cosine}[i%2]} {
					train, err := model.NewLayerTraining(t.Context(), f, m, m, l, objective)
					if err != nil {
						t.Fatal(err)
					}
					defer train.Close()
					train.Begin()
					if err := train.Add(onDevice(t, d, x32, hidden), onDevice(t, d, y32, hidden), model.Target{Objective: objective, Temperature: 1.5, Tokens: x.Rows}); err != nil {
						t.Fatal(err)
					}
					got, err := train.Gradients(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					loss := func() (total float64) {
						for w, part := range windowsOf(x, window) {
							out, _ := oracle.Layers[l].Forward(oracle.Config, part)
							want, n := windowsOf(y, window)[w], float64(x.Rows)
							var losses []float64
							switch objective {
							case model.KL:
								losses, _ = ref.KLDivergence(out, want, 1/n, 1.5)
							case model.Cosine:
								losses, _ = ref.CosineLoss(out, want, 1/n)
							default:
								losses, _ = ref.MSE(out, want, 1/(n*float64(hidden)))
							}
							for _, v := range losses {
								total += v
							}
						}
						return total
					}
					slopes(t, string(objective), got, values(&oracle.Layers[l]), loss)
					if value, err := train.Loss(t.Context()); err != nil || math.Abs(value/loss()-1) > 1e-4 {
						t.Errorf("%s: loss %v, want %v: %v", objective, value, loss(), err)
					}
				}
			})
		})
	}
}

// kept runs a Forward of a model to its end, keeping all states.
func kept(t *testing.T, d *vk.Device, m *model.Model, windows, window, batch int) *model.Forward {
	t.Helper()
	f := trainingOn(t, d, m, windows, window, batch)
	if err := f.Embed(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	for l := range m.Layers {
		if err := f.Layer(t.Context(), m, l, nil); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// Gradients of all weights by the logits of a deeper teacher are the slopes of the loss that the reference computes.
func TestTrainingWholeModel(t *testing.T) {
	for _, name := range []string{"llama", "qwen2", "qwen3-window", "opt"} {
		t.Run(name, func(t *testing.T) {
			teacher, above := architecture(t, name, func(s *modeltest.Spec) { s.Seed = 5 })
			m, oracle := architecture(t, name, func(s *modeltest.Spec) {
				s.Layers = 2
				if s.Extra["layer_types"] != nil {
					s.Extra["layer_types"] = []string{"sliding_attention", "full_attention"}
				}
			})
			const windows, window = 2, 11
			vktest.Each(t, func(t *testing.T, d *vk.Device) {
				f := kept(t, d, teacher, windows, window, 1)
				train, err := model.NewModelTraining(t.Context(), f, teacher, m)
				if err != nil {
					t.Fatal(err)
				}
				defer train.Close()
				train.Begin()
				for b, batch := range f.Batches() {
					_, y, err := f.StatePair(t.Context(), f, len(teacher.Layers), len(teacher.Layers), b)
					if err == nil {
						err = train.Add(t.Context(), batch, y, model.Target{Temperature: 1.5, Tokens: windows * window})
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				got, err := train.Gradients(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				loss := func() (total float64) {
					for _, w := range f.Windows() {
						var ids []int
						for _, v := range w {
							ids = append(ids, int(v))
						}
						losses, _ := ref.KLDivergence(oracle.Logits(ids), above.Logits(ids), 1/float64(windows*window), 1.5)
						for _, v := range losses {
							total += v
						}
					}
					return total
				}
				var all [][]float64
				for l := range oracle.Layers {
					all = append(all, values(&oracle.Layers[l])...)
				}
				top := [][]float64{oracle.Embed.Data, oracle.Positions.Data, oracle.Norm, oracle.NormBias, oracle.Head.Data}
				if m.Config.TieWordEmbeddings {
					oracle.Head = oracle.Embed
					top[4] = nil
				}
				slopes(t, name, got, append(all, top...), loss)
				if value, err := train.Loss(t.Context()); err != nil || math.Abs(value/loss()-1) > 1e-4 {
					t.Errorf("loss %v, want %v: %v", value, loss(), err)
				}
			})
		})
	}
}

// A layer that is the teacher's own has its bits in training: every loss is 0, every gradient, and nothing changes.
func TestTrainingSameBits(t *testing.T) {
	const windows, window = 2, 24
	for _, name := range []string{"llama", "qwen3", "opt"} {
		for _, kind := range []dtype.DType{dtype.F32, dtype.F16, dtype.BF16} {
			m, _ := architecture(t, name, func(s *modeltest.Spec) { s.DType, s.Layers = kind, 2 })
			vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
				f := kept(t, d, m, windows, window, windows)
				for _, objective := range model.Objectives {
					train, err := model.NewLayerTraining(t.Context(), f, m, m, 1, objective)
					if err != nil {
						t.Fatal(err)
					}
					unchanged(t, name+" "+kind.String()+" "+string(objective), m.Layers[1].Parts[:], train, func() error {
						x, y, err := f.StatePair(t.Context(), f, 1, 2, 0)
						if err != nil {
							return err
						}
						return train.Add(x, y, model.Target{Objective: objective, Temperature: 1, Tokens: windows * window, Change: 1})
					})
					train.Close()
				}
				train, err := model.NewModelTraining(t.Context(), f, m, m)
				if err != nil {
					t.Fatal(err)
				}
				unchanged(t, name+" "+kind.String()+" whole", m.AllValues(), train, func() error {
					_, y, err := f.StatePair(t.Context(), f, 2, 2, 0)
					if err != nil {
						return err
					}
					return train.Add(t.Context(), f.Batches()[0], y, model.Target{Temperature: 1, Tokens: windows * window})
				})
				train.Close()
			})
		}
	}
}

// trainer is what LayerTraining and ModelTraining share.
type trainer interface {
	Begin()
	Step(ctx context.Context, clip float64, p op.AdamWParams) (model.StepResult, error)
	Values(ctx context.Context) ([]model.Weight, error)
	Save(ctx context.Context, to io.Writer) error
	Load(ctx context.Context, from io.Reader) error
}

var adam = op.AdamWParams{LR: 3e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 1e-3, Step: 1}

func unchanged(t *testing.T, what string, weights []model.Weight, train trainer, add func() error) {
	t.Helper()
	train.Begin()
	if err := add(); err != nil {
		t.Fatal(err)
	}
	s, err := train.Step(t.Context(), 1, adam)
	if err != nil {
		t.Fatal(err)
	}
	if s.Loss != 0 || s.GradNorm != 0 || !s.Done {
		t.Errorf("%s: %+v", what, s)
	}
	after, err := train.Values(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range weights {
		if !bytes.Equal(w.Data, after[i].Data) {
			t.Errorf("%s: %s changed", what, w.Name)
		}
	}
}

// Training lowers the loss, goes on from what Save wrote to the same bytes, and says so where that is cut short.
func TestTrainingGoesOn(t *testing.T) {
	const windows, window = 4, 16
	m, _ := architecture(t, "llama", func(s *modeltest.Spec) { s.DType = dtype.BF16 })
	d := vktest.Open(t, vk.Options{})
	f := kept(t, d, m, windows, window, windows)
	two, err := m.With(m.Layers[:2], []int{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, whole := range []bool{false, true} {
		var layer *model.LayerTraining
		var all *model.ModelTraining
		open := func() trainer {
			var err error
			if whole {
				all, err = model.NewModelTraining(t.Context(), f, m, two)
			} else {
				layer, err = model.NewLayerTraining(t.Context(), f, m, m, 1, model.MSE)
			}
			if err != nil {
				t.Fatal(err)
			}
			if whole {
				return all
			}
			return layer
		}
		steps := func(train trainer, from, to int) (losses []float64) {
			for n := from; n < to; n++ {
				train.Begin()
				var err error
				if whole {
					_, y, pairErr := f.StatePair(t.Context(), f, 4, 4, 0)
					err = errors.Join(pairErr, all.Add(t.Context(), f.Batches()[0], y, model.Target{Temperature: 1, Tokens: windows * window}))
				} else {
					x, y, pairErr := f.StatePair(t.Context(), f, 1, 3, 0) // the layer is to do what two do
					err = errors.Join(pairErr, layer.Add(x, y, model.Target{Objective: model.MSE, Tokens: windows * window}))
				}
				if err != nil {
					t.Fatal(err)
				}
				p := adam
				p.Step = n + 1
				s, err := train.Step(t.Context(), 1, p)
				if err != nil {
					t.Fatal(err)
				}
				losses = append(losses, s.Loss)
			}
			return losses
		}
		bytesOf := func(train trainer) (all []byte) {
			values, err := train.Values(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range values {
				all = append(all, w.Data...)
			}
			return all
		}
		train := open()
		first := steps(train, 0, 8)
		var state bytes.Buffer
		if err := train.Save(t.Context(), &state); err != nil {
			t.Fatal(err)
		}
		losses := append(first, steps(train, 8, 20)...)
		want := bytesOf(train)
		train.(interface{ Close() }).Close()
		if last := losses[len(losses)-1]; !(last < 0.9*losses[0]) {
			t.Errorf("whole %v: the loss went from %v to %v", whole, losses[0], last)
		}
		train = open()
		if err := train.Load(t.Context(), bytes.NewReader(state.Bytes())); err != nil {
			t.Fatal(err)
		}
		if again := steps(train, 8, 20); !slices.Equal(again, losses[8:]) || !bytes.Equal(bytesOf(train), want) {
			t.Errorf("whole %v: other losses or weights after going on", whole)
		}
		if err := train.Load(t.Context(), bytes.NewReader(state.Bytes()[:state.Len()-1])); err == nil || !strings.Contains(err.Error(), "cut short") {
			t.Errorf("whole %v: a state that is cut short: %v", whole, err)
		}
		train.(interface{ Close() }).Close()
	}
}

// A step whose input is not finite is skipped, and changes neither weights nor moments.
func TestTrainingSkips(t *testing.T) {
	const windows, window = 2, 8
	m, _ := architecture(t, "llama", nil)
	hidden := m.Config.HiddenSize
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		f := trainingOn(t, d, m, windows, window, windows)
		train, err := model.NewLayerTraining(t.Context(), f, m, m, 1, model.MSE)
		if err != nil {
			t.Fatal(err)
		}
		defer train.Close()
		rng := rand.New(rand.NewPCG(1, 1))
		_, x := normal(rng, windows*window, hidden)
		_, y := normal(rng, windows*window, hidden)
		step := func() model.StepResult {
			train.Begin()
			if err := train.Add(onDevice(t, d, x, hidden), onDevice(t, d, y, hidden), model.Target{Objective: model.MSE, Tokens: windows * window}); err != nil {
				t.Fatal(err)
			}
			s, err := train.Step(t.Context(), 1, adam)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if s := step(); s.Skipped || s.Done {
			t.Fatalf("%+v", s)
		}
		var before, after bytes.Buffer
		if err := train.Save(t.Context(), &before); err != nil {
			t.Fatal(err)
		}
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), 1e30} {
			y[5] = bad
			if s := step(); !s.Skipped {
				t.Errorf("a target of %v: %+v", bad, s)
			}
		}
		if err := train.Save(t.Context(), &after); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before.Bytes(), after.Bytes()) {
			t.Error("a step that was skipped changed something")
		}
		y[5] = 0
		if s := step(); s.Skipped {
			t.Errorf("the next step: %+v", s)
		}
	})
}

// What training takes is what was predicted, and all of it is given back, also where there is too little.
func TestTrainingMemory(t *testing.T) {
	spec := modeltest.Spec{Hidden: 512, Intermediate: 1408, Layers: 3, Heads: 8, KVHeads: 4, HeadDim: 64, Vocab: 8192, Context: 128, DType: dtype.F16}
	m, _ := spec.Open(t)
	one, err := m.With(m.Layers[:1], []int{0})
	if err != nil {
		t.Fatal(err)
	}
	const windows, window = 4, 128
	o := model.ForwardOptions{BatchWindows: windows, StatesOnHost: true}
	open := func(limit int64) *vk.Device {
		d, err := vk.Open(vk.Options{MaxMemory: limit})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			vktest.Clean(t)
		})
		return d
	}
	for _, objective := range []model.Objective{model.MSE, model.KLLens} {
		d := open(0)
		planned, err := model.PredictTraining(d, m, one, []int{0}, windows, window, o, objective, false, true)
		if err != nil {
			t.Fatal(err)
		}
		phase := func(what string, planned int64) {
			t.Helper()
			took := d.Memory().Used
			t.Logf("%s, %s: %s planned, %s taken", objective, what, vk.Bytes(planned), vk.Bytes(took))
			if math.Abs(float64(took)/float64(planned)-1) > 0.1 {
				t.Errorf("%s, %s: %s taken, %s planned", objective, what, vk.Bytes(took), vk.Bytes(planned))
			}
		}
		f := kept(t, d, m, windows, window, windows)
		if err := f.Rest(t.Context()); err != nil {
			t.Fatal(err)
		}
		rest := d.Memory().Used
		layer, err := model.NewLayerTraining(t.Context(), f, m, one, 0, objective)
		if err != nil {
			t.Fatal(err)
		}
		phase("a layer", planned.Layer)
		layer.Close()
		whole, err := model.NewModelTraining(t.Context(), f, m, one)
		if err != nil {
			t.Fatal(err)
		}
		phase("all weights", planned.Whole)
		whole.Close()
		if used := d.Memory().Used; used != rest {
			t.Errorf("%d bytes left on the device", used-rest)
		}
	}
	for _, limit := range []int64{40 << 20, 60 << 20, 70 << 20} {
		d := open(limit)
		f := trainingOn(t, d, m, windows, window, windows)
		if err := f.Rest(t.Context()); err != nil {
			t.Fatal(err)
		}
		rest := d.Memory().Used
		if _, err := model.NewLayerTraining(t.Context(), f, m, one, 0, model.KLLens); !errors.Is(err, vk.ErrOutOfMemory) {
			t.Errorf("under %s: %v", vk.Bytes(limit), err)
		}
		if _, err := model.NewModelTraining(t.Context(), f, m, one); !errors.Is(err, vk.ErrOutOfMemory) {
			t.Errorf("under %s: %v", vk.Bytes(limit), err)
		}
		if used := d.Memory().Used; used != rest {
			t.Errorf("under %s: %d bytes left on the device", vk.Bytes(limit), used-rest)
		}
	}
}
