package model_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/safetensors"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// goldenLayer is testdata/distill/gqa: a layer, its inputs and targets, and the gradients that PyTorch computed in float64.
type goldenLayer struct {
	Loss      map[model.Objective]float64
	GradNorm  map[model.Objective]float64               `json:"grad_norm"`
	Checksums map[model.Objective]map[string][2]float64 `json:"grad_checksums"`
	tensors   map[string][]float32
}

// parts are the golden's names of the parts of a layer.
var parts = map[model.Part]string{
	model.InputNorm: "input_layernorm.weight", model.PostNorm: "post_attention_layernorm.weight", model.Q: "self_attn.q_proj.weight", model.K: "self_attn.k_proj.weight",
	model.V: "self_attn.v_proj.weight", model.O: "self_attn.o_proj.weight", model.Gate: "mlp.gate_proj.weight", model.Up: "mlp.up_proj.weight", model.Down: "mlp.down_proj.weight",
}

func openGoldenLayer(t *testing.T) (g goldenLayer, m *model.Model) {
	t.Helper()
	raw, err := os.ReadFile("../testdata/distill/gqa/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	file, err := safetensors.OpenFile("../testdata/distill/gqa/layer.safetensors")
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
		w := model.Weight{Name: name, DType: dtype.F32, Rows: 1, Cols: x.Shape[len(x.Shape)-1], Data: append([]byte{}, x.Data...)}
		if len(x.Shape) > 1 {
			w.Rows = len(x.Data) / 4 / w.Cols
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
	list := make([]model.Weight, model.NumParts)
	for p, name := range parts {
		list[p] = weight("param." + name)
	}
	m.Layers[0], m.Norm, m.Head = model.NewLayer(list), weight("final_norm"), weight("lm_head")
	return g, m
}

// trainingOn opens a Forward of windows of some tokens, in batches of so many windows, for training on states that are not its own.
func trainingOn(t *testing.T, d *vk.Device, m *model.Model, windows, window, batch int) *model.Forward {
	t.Helper()
	f, err := model.NewForwardWith(d, m, modeltest.Windows(m.Config.VocabSize, windows, window), model.ForwardOptions{BatchWindows: batch, StatesOnHost: true})
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
			var xs, ys []op.Tensor // by batch: each at an offset that can be bound
			for at := 0; at < windows*window*hidden; at += batch * window * hidden {
				xs = append(xs, onDevice(t, d, g.tensors["X"][at:at+batch*window*hidden], hidden))
				ys = append(ys, onDevice(t, d, g.tensors["Y"][at:at+batch*window*hidden], hidden))
			}
			change := 0.0
			for i := range g.tensors["X"] {
				c := float64(g.tensors["Y"][i]) - float64(g.tensors["X"][i])
				change += c * c
			}
			for _, objective := range model.Objectives {
				train, err := model.NewLayerTraining(t.Context(), f, m, m, 0, objective)
				if err != nil {
					t.Fatal(err)
				}
				train.Begin()
				for i := range xs {
					target := model.Target{Objective: objective, Temperature: 1, Tokens: windows * window, Change: change}
					if err := train.Add(xs[i], ys[i], target); err != nil {
						t.Fatal(err)
					}
				}
				loss, err := train.Loss(t.Context())
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
				grads, err := train.Gradients(t.Context())
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
				train.Close()
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
