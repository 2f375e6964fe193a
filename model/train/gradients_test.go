package train_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

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

// kept runs a Forward of a model to its end, keeping all states.
func kept(t *testing.T, d *vk.Device, m *model.Model, windows, window, batch int) *run.Forward {
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

// Gradients of the language-model loss by every layer's weights are the slopes of the loss that the reference computes, window by window,
// wherever the states are.
func TestGradientsArchitectures(t *testing.T) {
	const windows, window = 2, 11
	for _, name := range differentiable(t) {
		t.Run(name, func(t *testing.T) {
			m, oracle := architecture(t, name, nil)
			vktest.Each(t, func(t *testing.T, d *vk.Device) {
				f := kept(t, d, m, windows, window, 1)
				var got [windows][][]float32 // by window, then by layer and part
				for w := range got {
					got[w] = make([][]float32, len(m.Layers)*int(arch.LayerRoles))
				}
				layers := 0
				err := train.Gradients(t.Context(), f, m, func(layer int, b run.Batch, w, g []op.Tensor) error {
					if err := f.Recorder().Wait(t.Context()); err != nil {
						return err
					}
					for p, x := range g {
						if x.IsZero() != w[p].IsZero() {
							t.Errorf("layer %d, part %d: weight %v, gradient %v", layer, p, w[p], x)
						}
						if x.IsZero() {
							continue
						}
						raw, values := make([]byte, x.Size()), make([]float32, x.Elements())
						if err := d.Download(t.Context(), raw, x.View); err != nil {
							return err
						}
						dtype.F32.Decode(values, raw)
						got[b.Begin][layer*int(arch.LayerRoles)+p] = values
					}
					return nil
				}, func(done, total int) { layers = done })
				if err != nil {
					t.Fatal(err)
				}
				if layers != len(m.Layers) {
					t.Errorf("%d layers were told of", layers)
				}
				var weights [][]float64
				for l := range oracle.Layers {
					weights = append(weights, oracleLayer(&oracle.Layers[l])...)
				}
				for w, tokens := range f.Corpus.Windows {
					var ids []int
					for _, v := range tokens {
						ids = append(ids, int(v))
					}
					slopes(t, name, got[w], weights, func() float64 { return oracle.Loss([][]int{ids}) })
				}
				// The forward states are there still: a second pass gives the same.
				if err := train.Gradients(t.Context(), f, m, func(int, run.Batch, []op.Tensor, []op.Tensor) error { return nil }, nil); err != nil {
					t.Error(err)
				}
				f.States().Drop(1)
				if err := train.Gradients(t.Context(), f, m, nil, nil); err == nil {
					t.Error("gradients without the states at a boundary")
				}
			})
		})
	}
}

// The bits of a window's gradients are the same from run to run, and wherever the states lie; what fails leaves nothing on the device.
func TestGradientsAgain(t *testing.T) {
	spec := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 61, Context: 32, DType: dtype.BF16}
	m, _ := spec.Open(t)
	windows := modeltest.Windows(spec.Vocab, 3, 9)
	d := vktest.Open(t, vk.Options{})
	broken := errors.New("broken")
	execute := func(ctx context.Context, windows [][]uint32, o run.Options, fail bool) (all []byte, err error) {
		f, err := run.NewWith(d, m, windows, o)
		if err != nil {
			t.Fatal(err)
		}
		if o.Host != nil { // no room for states
			s := o.Host.Stats()
			o.Host.Limit = s.Base + s.Reserved
		}
		defer func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if used := d.Memory().Used; used != 0 {
				t.Errorf("%d bytes left on the device", used)
			}
		}()
		if err := f.Embed(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		for l := range m.Layers {
			if err := f.Layer(t.Context(), m, l, nil); err != nil {
				t.Fatal(err)
			}
		}
		return all, train.Gradients(ctx, f, m, func(l int, b run.Batch, w, g []op.Tensor) error {
			if fail && l == 1 {
				return broken
			}
			if err := f.Recorder().Wait(ctx); err != nil {
				return err
			}
			for _, x := range g {
				if !x.IsZero() {
					raw := make([]byte, x.Size())
					if err := d.Download(ctx, raw, x.View); err != nil {
						return err
					}
					all = append(all, raw...)
				}
			}
			return nil
		}, nil)
	}
	want, err := execute(t.Context(), windows, train.GradientOptions(run.Options{}), false)
	if err != nil {
		t.Fatal(err)
	}
	files := &states.HostMemory{Limit: math.MaxInt64, Dir: t.TempDir()}
	for name, o := range map[string]run.Options{"again": train.GradientOptions(run.Options{}), "on the device": {BatchWindows: 1}, "in files": train.GradientOptions(run.Options{Host: files})} {
		got, err := execute(t.Context(), windows, o, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if string(got) != string(want) {
			t.Errorf("%s: other gradients", name)
		}
	}
	if s := files.Stats(); s.Spilled == 0 || s.Disk != 0 || s.States != 0 {
		t.Errorf("states in files: %+v", s)
	}
	if _, err := execute(t.Context(), windows, train.GradientOptions(run.Options{}), true); !errors.Is(err, broken) {
		t.Errorf("the visitor's error is lost: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := execute(ctx, windows, train.GradientOptions(run.Options{}), false); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := execute(t.Context(), modeltest.Windows(spec.Vocab, 2, 1), train.GradientOptions(run.Options{}), false); err == nil || !strings.Contains(err.Error(), "one token") {
		t.Errorf("windows of one token: %v", err)
	}
}
