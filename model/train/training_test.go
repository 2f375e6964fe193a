package train_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/safetensors"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// goldenLayer is testdata/distill/gqa: a layer, its inputs and targets, and the gradients that PyTorch computed in float64.
type goldenLayer struct {
	Loss      map[train.Objective]float64
	GradNorm  map[train.Objective]float64               `json:"grad_norm"`
	Checksums map[train.Objective]map[string][2]float64 `json:"grad_checksums"`
	tensors   map[string][]float32
}

// parts are the golden's names of the parts of a layer.
var parts = map[arch.Role]string{
	arch.InputNorm: "input_layernorm.weight", arch.PostNorm: "post_attention_layernorm.weight", arch.Q: "self_attn.q_proj.weight", arch.K: "self_attn.k_proj.weight",
	arch.V: "self_attn.v_proj.weight", arch.O: "self_attn.o_proj.weight", arch.Gate: "mlp.gate_proj.weight", arch.Up: "mlp.up_proj.weight", arch.Down: "mlp.down_proj.weight",
}

func openGoldenLayer(t *testing.T) (g goldenLayer, m *model.Model) {
	t.Helper()
	raw, err := os.ReadFile("../../testdata/distill/gqa/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	file, err := safetensors.OpenFile("../../testdata/distill/gqa/layer.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	g.tensors = map[string][]float32{}
	weight := func(name string) model.Weight {
		x, ok := file.Lookup(name)
		if !ok {
			t.Fatalf("no tensor %s", name)
		}
		w := model.Weight{Name: name, DType: dtype.F32, Rows: 1, Cols: x.Shape[len(x.Shape)-1], Data: modeltest.Bytes(t, x)}
		if len(x.Shape) > 1 {
			w.Rows = x.Size() / 4 / w.Cols
		}
		values := make([]float32, w.Rows*w.Cols)
		dtype.F32.Decode(values, w.Data)
		g.tensors[name] = values
		return w
	}
	for _, name := range file.Names() {
		weight(name)
	}
	m, _ = modeltest.Spec{Hidden: 48, Intermediate: 112, Layers: 1, Heads: 6, KVHeads: 3, HeadDim: 8, Vocab: 97, Context: 32}.Open(t)
	list := make([]model.Weight, arch.LayerRoles)
	for p, name := range parts {
		list[p] = weight("param." + name)
	}
	m.Layers[0], m.Top[arch.FinalNorm], m.Top[arch.Head] = model.NewLayer(list), weight("final_norm"), weight("lm_head")
	return g, m
}

// trainingOn opens a Forward of windows of some tokens, in batches of so many windows, for training on states that are not its own.
func trainingOn(t *testing.T, d *vk.Device, m *model.Model, windows, window, batch int) *run.Forward {
	t.Helper()
	f, err := run.NewWith(d, m, modeltest.Windows(m.Config.VocabSize, windows, window), run.Options{BatchWindows: batch, StatesOnHost: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// onDevice uploads a matrix.
func onDevice(t *testing.T, d *vk.Device, values []float32, cols int) op.Tensor {
	t.Helper()
	raw := make([]byte, 4*len(values))
	dtype.F32.Encode(raw, values)
	b, err := d.NewBuffer(t.Name(), int64(len(raw)), vk.OnDevice)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Free(b) })
	if err := d.Upload(t.Context(), b.All(), raw); err != nil {
		t.Fatal(err)
	}
	return op.Of(b.All(), dtype.F32, len(values)/cols, cols)
}

// The loss and the gradients of every parameter for every objective are PyTorch's, on every device and tier, however the tokens are cut
// into micro-batches.
func TestTrainingGolden(t *testing.T) {
	const windows, window, hidden, bound = 3, 17, 48, 1e-4
	g, m := openGoldenLayer(t)
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, batch := range []int{3, 1} {
			f := trainingOn(t, d, m, windows, window, batch)
			change := 0.0
			for i := range g.tensors["X"] {
				c := float64(g.tensors["Y"][i]) - float64(g.tensors["X"][i])
				change += c * c
			}
			for _, objective := range train.Objectives {
				trained, err := train.NewLayer(t.Context(), f, m, m, 0, objective, train.Setup{})
				if err != nil {
					t.Fatal(err)
				}
				trained.Begin()
				for w := 0; w < windows; w += batch {
					target := train.Target{Objective: objective, Temperature: 1, Tokens: windows * window, Change: change}
					begin, end := w*window*hidden, (w+batch)*window*hidden
					x, y := onDevice(t, d, g.tensors["X"][begin:end], hidden), onDevice(t, d, g.tensors["Y"][begin:end], hidden)
					if err := trained.Add(x, y, target); err != nil {
						t.Fatal(err)
					}
				}
				loss, err := trained.Loss(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				near := func(what string, got, want float64) {
					t.Helper()
					if !(math.Abs(got-want) <= bound*math.Abs(want)) {
						t.Errorf("%s, batches of %d: %s is %v, want %v", objective, batch, what, got, want)
					}
				}
				near("loss", loss, g.Loss[objective])
				grads, err := trained.Gradients(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				squares := 0.0
				for p, name := range parts {
					sum, abs := 0.0, 0.0
					for _, v := range grads[p] {
						sum, abs, squares = sum+float64(v), abs+math.Abs(float64(v)), squares+float64(v)*float64(v)
					}
					if want, ok := g.tensors["grad."+string(objective)+"."+name]; ok {
						nearAll(t, string(objective)+" "+name, grads[p], want, bound)
						continue
					}
					want := g.Checksums[objective][name]
					near("Σ|∂"+name+"|", abs, want[1])
					if math.Abs(sum-want[0]) > bound*want[1] { // a sum that cancels
						t.Errorf("%s: Σ∂%s is %v, want %v", objective, name, sum, want[0])
					}
				}
				near("norm of the gradients", math.Sqrt(squares), g.GradNorm[objective])
				trained.Close()
			}
		}
	})
}

// nearAll compares vectors: |got − want| within bound of |want| and the root mean square of want together.
func nearAll(t *testing.T, what string, got, want []float32, bound float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	squares := 0.0
	for _, v := range want {
		squares += float64(v) * float64(v)
	}
	rms := math.Sqrt(squares / float64(len(want)))
	for i, w := range want {
		if e := math.Abs(float64(got[i]) - float64(w)); !(e <= bound*(math.Abs(float64(w))+rms)) {
			t.Errorf("%s: element %d is %v, want %v", what, i, got[i], w)
			return
		}
	}
}

// trainer is what trainings of a layer and of a model have in common.
type trainer interface {
	Begin()
	Step(ctx context.Context, clip float64, p op.AdamWParams) (train.StepResult, error)
	Values(ctx context.Context) ([]model.Weight, error)
	Save(ctx context.Context, to io.Writer) error
	Load(ctx context.Context, from io.Reader) error
	Close()
}

// stateOf is what a training saves.
func stateOf(t *testing.T, trained trainer) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := trained.Save(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var adam = op.AdamWParams{LR: 3e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 1e-2, Step: 1}

// allZero fails unless all gradients are exactly 0.
func allZero(t *testing.T, what string, grads [][]float32) {
	t.Helper()
	for i, g := range grads {
		for k, v := range g {
			if v != 0 {
				t.Errorf("%s: the gradient of element %d of tensor %d is %v, not 0", what, k, i, v)
				return
			}
		}
	}
}

// stepLayer adds all batches of the states at two boundaries of f to a step of a layer's training.
func stepLayer(t *testing.T, f *run.Forward, trained *train.LayerTraining, o train.Objective, lower, upper int) {
	t.Helper()
	trained.Begin()
	for b := range f.Corpus.Batches {
		x, y, err := f.States().Pair(t.Context(), f.States(), lower, upper, b)
		if err == nil {
			err = trained.Add(x, y, train.Target{Objective: o, Temperature: temperature, Tokens: len(f.Corpus.Windows) * f.Corpus.Window, Change: 1})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A student that is its teacher has a loss and gradients of exactly 0, whatever the objective, dtype and tier: the forward pass of
// training has the bits of Forward's. A step then is done, and changes nothing.
func TestTrainingOfTeacher(t *testing.T) {
	type own struct {
		what string
		m    *model.Model
	}
	var cases []own
	for _, name := range []string{"llama", "qwen3", "opt"} {
		for _, dt := range dtype.All {
			spec, err := modeltest.Named(name)
			if err != nil {
				t.Fatal(err)
			}
			spec.Vocab, spec.Layers, spec.DType = 97, 2, dt
			m, _ := spec.Open(t)
			cases = append(cases, own{name + ", " + dt.String(), m})
		}
	}
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range cases {
			f := trainingOn(t, d, c.m, 3, 13, 2)
			runAll(t, f, c.m)
			step := func(what string, grads [][]float32, loss float64, trained trainer) {
				t.Helper()
				if loss != 0 {
					t.Errorf("%s: the loss of the teacher itself is %v, not 0", what, loss)
				}
				allZero(t, what, grads)
				before := stateOf(t, trained)
				if s, err := trained.Step(t.Context(), 1, adam); err != nil || !s.Done || s.Skipped || s.Loss != 0 || s.GradNorm != 0 {
					t.Errorf("%s: the step did %+v, %v: it has to be done", what, s, err)
				}
				if !bytes.Equal(before, stateOf(t, trained)) {
					t.Errorf("%s: a step that is done changed the weights or moments", what)
				}
			}
			for _, o := range train.Objectives {
				if c.m.Config.DType != dtype.F32 && o != train.MSE && o != train.KLLens {
					continue // it sees no weights, and states are F32
				}
				trained, err := train.NewLayer(t.Context(), f, c.m, c.m, 1, o, train.Setup{})
				if err != nil {
					t.Fatal(err)
				}
				stepLayer(t, f, trained, o, 1, 2)
				loss, err := trained.Loss(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				grads, err := trained.Gradients(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				step(c.what+", "+string(o), grads, loss, trained)
				trained.Close()
			}
			trained, err := train.NewModel(t.Context(), f, c.m, c.m, train.Setup{})
			if err != nil {
				t.Fatal(err)
			}
			loss, grads := addAll(t, f, trained)
			step(c.what+", all weights", grads, loss, trained)
			trained.Close()
		}
	})
}

// training is one that takes the same steps whenever it is asked for them.
type training struct {
	trainer
	what string
	add  func(t *testing.T)
}

// step takes step number n.
func (tr training) step(t *testing.T, n int) train.StepResult {
	t.Helper()
	tr.add(t)
	p := adam
	p.Step = n
	s, err := tr.Step(t.Context(), 1, p)
	if err != nil || s.Skipped || s.Done {
		t.Fatalf("%s: step %d did %+v, %v", tr.what, n, s, err)
	}
	return s
}

// bothTrainings are one of a layer that learns two, and one of a model that learns from another of twice the depth.
func bothTrainings(t *testing.T, f *run.Forward, m *model.Model) []training {
	t.Helper()
	layer, err := train.NewLayer(t.Context(), f, m, m, 0, train.MSE, train.Setup{})
	if err != nil {
		t.Fatal(err)
	}
	student, err := m.With(m.Layers[:1], []int{0})
	if err != nil {
		t.Fatal(err)
	}
	all, err := train.NewModel(t.Context(), f, m, student, train.Setup{})
	if err != nil {
		t.Fatal(err)
	}
	return []training{
		{layer, "a layer", func(t *testing.T) { stepLayer(t, f, layer, train.MSE, 0, 2) }},
		{all, "a model", func(t *testing.T) { addAll(t, f, all) }},
	}
}

// Twenty steps make the loss small, and from what is saved in the middle training goes on to the same bits.
func TestTrainingGoesOn(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, dt := range []dtype.DType{dtype.F32, dtype.BF16} {
			m, _ := modeltest.Spec{Hidden: 48, Intermediate: 80, Layers: 2, Heads: 3, KVHeads: 3, HeadDim: 16, Vocab: 97, Context: 32, DType: dt}.Open(t)
			f := trainingOn(t, d, m, 4, 16, 2)
			runAll(t, f, m)
			first, second := bothTrainings(t, f, m), bothTrainings(t, f, m)
			for i, trained := range first {
				again := second[i]
				var loss []float64
				var middle []byte
				for n := 1; n <= 20; n++ {
					loss = append(loss, trained.step(t, n).Loss)
					if n == 10 {
						middle = stateOf(t, trained)
					}
				}
				if !(loss[19] < loss[0]/3) {
					t.Errorf("%v, %s: the losses of 20 steps are %v", dt, trained.what, loss)
				}
				if err := again.Load(t.Context(), bytes.NewReader(middle)); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(middle, stateOf(t, again)) {
					t.Errorf("%v, %s: what is saved after loading is not what was loaded", dt, trained.what)
				}
				for n := 11; n <= 20; n++ {
					if got := again.step(t, n).Loss; got != loss[n-1] {
						t.Errorf("%v, %s: the loss of step %d is %v after loading, %v without", dt, trained.what, n, got, loss[n-1])
					}
				}
				want, err := trained.Values(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				got, err := again.Values(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for k := range want {
					if !bytes.Equal(got[k].Data, want[k].Data) {
						t.Errorf("%v, %s: %s is another after training that was saved and loaded", dt, trained.what, want[k].Name)
					}
				}
				for _, n := range []int{0, 1, len(middle) / 2, len(middle) - 1} {
					if err := again.Load(t.Context(), bytes.NewReader(middle[:n])); err == nil || !strings.Contains(err.Error(), "cut short") {
						t.Errorf("%v, %s: %d bytes of a state of %d: %v", dt, trained.what, n, len(middle), err)
					}
				}
				trained.Close()
				again.Close()
			}
		}
	})
}

// A step of losses or gradients that are not finite is skipped: weights and moments stay, bit for bit, and the next step is taken.
func TestTrainingSkips(t *testing.T) {
	const windows, window, hidden = 2, 9, 40
	m, _ := modeltest.Spec{Hidden: hidden, Intermediate: 72, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 20, Vocab: 97, Context: 16}.Open(t)
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		f := trainingOn(t, d, m, windows, window, windows)
		runAll(t, f, m)
		good, last := make([]float32, windows*window*hidden), make([]float32, windows*window*hidden)
		x, err := f.States().Tensor(t.Context(), len(m.Layers), 0)
		if err == nil {
			err = graph.Read(t.Context(), d, last, x)
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			good[i] = float32(i%7) / 7
		}
		for _, c := range []struct {
			what string
			at   int
			v    float32
		}{
			{"NaN", 0, float32(math.NaN())}, {"NaN", len(good) - 1, float32(math.NaN())}, {"infinity", hidden + 3, float32(math.Inf(-1))}, {"a number whose square overflows", 77, 1e30},
		} {
			values := slices.Clone(good)
			values[c.at] = c.v
			bad, fine, own := onDevice(t, d, values, hidden), onDevice(t, d, good, hidden), onDevice(t, d, last, hidden)
			for _, trained := range bothTrainings(t, f, m) {
				trained.step(t, 1) // moments
				before := stateOf(t, trained)
				target := train.Target{Objective: train.MSE, Temperature: 1, Tokens: windows * window}
				for _, wrong := range []string{"states", "targets"} {
					x, y := fine, bad
					if wrong == "states" {
						x, y = bad, fine
					}
					trained.Begin()
					var err error
					if l, ok := trained.trainer.(*train.LayerTraining); ok {
						err = l.Add(x, y, target)
					} else if wrong == "states" || c.v == 1e30 { // its states are its own, and targets are normed
						continue
					} else {
						put(t, f, len(m.Layers), y)
						err = trained.trainer.(wholeTrainer).Add(t.Context(), 0, target)
					}
					if err != nil {
						t.Fatal(err)
					}
					p := adam
					p.Step = 2
					if s, err := trained.Step(t.Context(), 1, p); err != nil || !s.Skipped || s.Done {
						t.Errorf("%s, %s with %s at %d: the step did %+v, %v: it has to be skipped", trained.what, wrong, c.what, c.at, s, err)
					}
					if !bytes.Equal(before, stateOf(t, trained)) {
						t.Errorf("%s, %s with %s at %d: a step that is skipped changed weights or moments", trained.what, wrong, c.what, c.at)
					}
					put(t, f, len(m.Layers), own)
				}
				trained.step(t, 2)
				if bytes.Equal(before, stateOf(t, trained)) {
					t.Errorf("%s: the step after one that was skipped changed nothing", trained.what)
				}
				trained.Close()
			}
		}
	})
}

// put makes x the states of f's first batch at a boundary.
func put(t *testing.T, f *run.Forward, boundary int, x op.Tensor) {
	t.Helper()
	r := f.Recorder()
	err := f.States().Produce(t.Context(), boundary, []int{0}, func(_ int, out op.Tensor) error {
		r.Copy(out.View, x.View)
		return r.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// All memory of a training is free after Close, also of one that lacks memory half-way, wherever that is.
func TestTrainingMemoryIsFreed(t *testing.T) {
	teacher, err := modeltest.Named("opt")
	if err != nil {
		t.Fatal(err)
	}
	teacher.Vocab, teacher.Layers, teacher.Hidden, teacher.Heads, teacher.KVHeads, teacher.Intermediate = 97, 2, 96, 4, 4, 720
	m, _ := teacher.Open(t)
	vktest.EachWith(t, vk.Options{MaxMemory: 14 << 20}, func(t *testing.T, d *vk.Device) { // matrices are more than half a block, and blocks of their own
		f := trainingOn(t, d, m, 3, 13, 2)
		runAll(t, f, m)
		rest := d.Memory().Used
		free := func(what string) {
			t.Helper()
			if used := d.Memory().Used; used != rest {
				t.Fatalf("%s: %d bytes are in use, %d were before", what, used, rest)
			}
		}
		open := map[string]func() (trainer, error){
			"all weights": func() (trainer, error) { return train.NewModel(t.Context(), f, m, m, train.Setup{}) },
		}
		for _, o := range train.Objectives {
			open[string(o)] = func() (trainer, error) { return train.NewLayer(t.Context(), f, m, m, 1, o, train.Setup{}) }
		}
		for what, open := range open {
			trained, err := open()
			if err != nil {
				t.Fatal(err)
			}
			if l, ok := trained.(*train.LayerTraining); ok {
				stepLayer(t, f, l, train.Objective(what), 1, 2)
			} else {
				addAll(t, f, trained.(*train.ModelTraining))
			}
			taken := d.Memory().Used - rest
			trained.Close() // with what is recorded
			free(what)
			// Every room for less than all of it.
			for k := range int64(16) {
				restrict(t, d, taken*k/16, func() {
					before := d.Memory().Used
					if trained, err := open(); err == nil {
						trained.Close()
						t.Errorf("%s: %d of %d bytes were enough", what, taken*k/16, taken)
					} else if !errors.Is(err, vk.ErrOutOfMemory) {
						t.Errorf("%s: with %d of %d bytes: %v", what, taken*k/16, taken, err)
					}
					if used := d.Memory().Used; used != before {
						t.Errorf("%s: with %d of %d bytes %d stay in use", what, taken*k/16, taken, used-before)
					}
				})
				free(what)
			}
		}
		if err := f.Recorder().Wait(t.Context()); err != nil {
			t.Errorf("the recorder cannot be used any more: %v", err)
		}
	})
}

// restrict calls f while a device has room for so many bytes, and some 256 more at most.
func restrict(t *testing.T, d *vk.Device, room int64, f func()) {
	t.Helper()
	var ballast []*vk.Buffer
	defer func() { d.Free(ballast...) }()
	for size := int64(64 << 20); size >= 256; size /= 2 {
		for d.MemoryLimit()-d.Memory().Used-size >= room {
			b, err := d.NewBuffer("ballast", size, vk.OnDevice)
			if err != nil {
				break
			}
			ballast = append(ballast, b)
		}
	}
	f()
}

// What PredictTraining says of each phase is what is used, within a tenth.
func TestPredictTraining(t *testing.T) {
	const windows, window = 4, 32
	for _, c := range []struct {
		spec      modeltest.Spec
		objective train.Objective
	}{
		{modeltest.Spec{Hidden: 256, Intermediate: 1536, Layers: 2, Heads: 8, KVHeads: 4, HeadDim: 32, Vocab: 2003, Context: 64}, train.MSE},
		{modeltest.Spec{Hidden: 256, Intermediate: 1536, Layers: 2, Heads: 8, KVHeads: 4, HeadDim: 32, Vocab: 2003, Context: 64, DType: dtype.BF16, Tied: true}, train.KLLens},
		{modeltest.Spec{Architecture: "OPTForCausalLM", Hidden: 256, Intermediate: 1024, Layers: 2, Heads: 8, KVHeads: 8, HeadDim: 32, Vocab: 2003, Context: 64, AttentionBias: true, Tied: true, DType: dtype.F16}, train.KL},
	} {
		m, _ := c.spec.Open(t)
		d, err := vk.Open(vk.Options{}) // of its own, whose peak is its own
		if err != nil {
			t.Fatal(err)
		}
		o := run.Options{BatchWindows: 2, StatesOnHost: true}
		want, err := train.Predict(d, m, m, windows, window, o, train.Work{Layers: []int{0, 1}, Objective: c.objective, Whole: train.Resident})
		if err != nil {
			t.Fatal(err)
		}
		near := func(phase string, want int64) {
			t.Helper()
			got := d.Memory().PeakUsed
			t.Logf("%s, %v: %d bytes, predicted %d (%.3f)", phase, c.spec.DType, got, want, float64(want)/float64(got))
			if math.Abs(float64(got-want)) > 0.1*float64(got) || got > want+1<<20 {
				t.Errorf("%v %v, %s: %d bytes are used, %d were predicted", c.spec.Architecture, c.spec.DType, phase, got, want)
			}
		}
		f, err := run.NewWith(d, m, modeltest.Windows(c.spec.Vocab, windows, window), o)
		if err != nil {
			t.Fatal(err)
		}
		runAll(t, f, m)
		near("forward", want.Forward)
		if err := f.Rest(t.Context()); err != nil {
			t.Fatal(err)
		}
		layer, err := train.NewLayer(t.Context(), f, m, m, 1, c.objective, train.Setup{})
		if err != nil {
			t.Fatal(err)
		}
		stepLayer(t, f, layer, c.objective, 1, 2)
		if _, err := layer.Step(t.Context(), 1, adam); err != nil {
			t.Fatal(err)
		}
		near("layer", want.Layer)
		layer.Close()
		all, err := train.NewModel(t.Context(), f, m, m, train.Setup{})
		if err != nil {
			t.Fatal(err)
		}
		addAll(t, f, all)
		if _, err := all.Step(t.Context(), 1, adam); err != nil {
			t.Fatal(err)
		}
		near("whole", want.Whole)
		all.Close()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if used := d.Memory().Used; used != 0 {
			t.Errorf("%d bytes are left", used)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	vktest.Clean(t)
}
