package train_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// gradientBound is of f32 passes through a layer or two and their gradients, against float64: relative to a gradient and the root mean
// square of its tensor's together. What is measured is below 1e-5.
const gradientBound = 1e-4

// oracleLayer is the weights of a reference's layer by role; absent ones are nil.
func oracleLayer(l *ref.Layer) [][]float64 {
	list := [][]float64{
		arch.InputNorm: l.InputNorm, arch.InputNormBias: l.InputNormBias, arch.Q: l.Q.Data, arch.K: l.K.Data, arch.V: l.V.Data, arch.QBias: l.QBias, arch.KBias: l.KBias,
		arch.VBias: l.VBias, arch.QNorm: perHead(l, l.QNorm), arch.KNorm: perHead(l, l.KNorm), arch.QRowNorm: overAll(l, l.QNorm), arch.KRowNorm: overAll(l, l.KNorm), arch.O: l.O.Data, arch.OBias: l.OBias, arch.PostNorm: l.PostNorm,
		arch.PostNormBias: l.PostNormBias, arch.Gate: l.Gate.Data, arch.GateBias: l.GateBias, arch.Up: l.Up.Data, arch.UpBias: l.UpBias, arch.Down: l.Down.Data,
		arch.DownBias: l.DownBias, arch.Router: l.Router.Data, arch.AttentionNorm: l.AttentionNorm, arch.MLPNorm: l.FFNNorm,
	}
	if l.Router.Rows > 0 { // of experts
		for dense, of := range map[arch.Role]arch.Role{arch.Gate: arch.ExpertGate, arch.Up: arch.ExpertUp, arch.Down: arch.ExpertDown} {
			list[dense], list[of] = nil, list[dense]
		}
	}
	return list
}

// perHead is the weights of a norm of queries or keys if it is over each head, overAll if it is over all heads together.
func perHead(l *ref.Layer, w []float64) []float64 {
	if len(l.QNorm) == l.Q.Rows {
		return nil
	}
	return w
}

func overAll(l *ref.Layer, w []float64) []float64 {
	if len(l.QNorm) != l.Q.Rows {
		return nil
	}
	return w
}

// oracleWeights are a reference's weights in the order of ModelTraining.Values.
func oracleWeights(m *ref.Model, tied bool) (list [][]float64) {
	for l := range m.Layers {
		list = append(list, oracleLayer(&m.Layers[l])...)
	}
	head := m.Head.Data
	if tied {
		head = nil
	}
	return append(list, m.Embed.Data, m.Positions.Data, m.Norm, m.NormBias, head)
}

// derivative is an element of a tensor, and what a number of losses' derivatives by it are.
type derivative struct {
	tensor, element int
	of              []float64
}

// derivatives are central differences of losses by some elements of each tensor: the largest gradient's, and others at random. open gives
// tensors and the losses that they make, to one goroutine each.
func derivatives(grads [][]float32, each int, open func() (tensors [][]float64, losses func() []float64)) []derivative {
	const step = 1e-5 // an error of its square from the third derivative, and of 2^-53 of the loss divided by it
	rng := rand.New(rand.NewPCG(1, 2))
	var list []derivative
	for i, g := range grads {
		largest := 0
		for k, v := range g {
			if math.Abs(float64(v)) > math.Abs(float64(g[largest])) {
				largest = k
			}
		}
		for k := range min(each, len(g)) {
			d := derivative{tensor: i, element: largest}
			if k > 0 {
				d.element = rng.IntN(len(g))
			}
			list = append(list, d)
		}
	}
	var group sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		group.Go(func() {
			tensors, losses := open()
			for i := w; i < len(list); i += workers {
				at := &tensors[list[i].tensor][list[i].element]
				old := *at
				*at = old + step
				up := losses()
				*at = old - step
				down := losses()
				*at = old
				for k := range up {
					list[i].of = append(list[i].of, (up[k]-down[k])/(2*step))
				}
			}
		})
	}
	group.Wait()
	return list
}

// checkGradients compares gradients with the k-th derivatives of a list, and their presence with that of tensors.
func checkGradients(t *testing.T, what string, grads [][]float32, tensors [][]float64, list []derivative, k int) {
	t.Helper()
	rms := make([]float64, len(grads))
	for i, g := range grads {
		if len(g) != len(tensors[i]) {
			t.Fatalf("%s: %d gradients of tensor %d, want %d", what, len(g), i, len(tensors[i]))
		}
		for _, v := range g {
			rms[i] += float64(v) * float64(v) / float64(len(g))
		}
		rms[i] = math.Sqrt(rms[i])
		if len(g) > 0 && rms[i] == 0 {
			t.Errorf("%s: the gradients of tensor %d are all 0", what, i)
		}
	}
	for _, d := range list {
		got, want := float64(grads[d.tensor][d.element]), d.of[k]
		// Of a key's bias no output depends: its gradient is 0, and what there is of it are roundings of the queries'.
		scale := math.Abs(want) + rms[d.tensor]
		if d.tensor%int(arch.LayerRoles) == int(arch.KBias) {
			scale += rms[d.tensor-1]
		}
		if e := math.Abs(got - want); !(e <= gradientBound*scale) {
			t.Errorf("%s: the gradient of element %d of tensor %d is %v, want %v (rms %v)", what, d.element, d.tensor, got, want, rms[d.tensor])
		}
	}
}

// rounded is a matrix in f32, and as what f32 holds.
func rounded(m ref.Mat) []float32 {
	out := make([]float32, len(m.Data))
	for i, v := range m.Data {
		out[i] = float32(v)
		m.Data[i] = float64(out[i])
	}
	return out
}

// layerCase is a layer of an architecture that is trained, and what the reference says of that.
type layerCase struct {
	name            string
	spec            modeltest.Spec
	windows, window int
	layer           int
	m               *model.Model
	dir             string
	oracle          *ref.Model
	x, y            []ref.Mat // by window
	xs, ys          []float32
	change          float64
	losses          []float64 // by objective
	list            []derivative
}

const temperature = 1.5 // of the tests

// newLayerCase has layer 2 learn what layers 2 and 3 do together.
func newLayerCase(t *testing.T, name string, windows, window int) *layerCase {
	t.Helper()
	spec, err := modeltest.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	spec.Vocab = 97
	c := &layerCase{name: name, spec: spec, windows: windows, window: window, layer: 2}
	c.m, c.dir = spec.Open(t)
	if c.oracle, err = ref.LoadModel(c.dir); err != nil {
		t.Fatal(err)
	}
	for _, w := range modeltest.Windows(spec.Vocab, windows, window) {
		states := c.oracle.HiddenStates(toInts(w))
		x, y := states[2], states[4]
		c.xs, c.ys = append(c.xs, rounded(x)...), append(c.ys, rounded(y)...)
		c.x, c.y = append(c.x, x), append(c.y, y)
	}
	for i := range c.xs {
		d := float64(c.ys[i]) - float64(c.xs[i])
		c.change += d * d
	}
	c.losses = c.lossesOf(c.oracle)
	return c
}

// lossesOf are the objectives' losses of the layer of a model, by their place in train.Objectives.
func (c *layerCase) lossesOf(oracle *ref.Model) []float64 {
	sums := make([]float64, len(train.Objectives))
	n := float64(c.windows * c.window)
	for i, x := range c.x {
		yhat, _ := oracle.Layers[c.layer].Forward(oracle.Config, x)
		for k, o := range train.Objectives {
			var loss []float64
			switch o {
			case train.MSE:
				loss, _ = ref.MSE(yhat, c.y[i], 1/(n*float64(c.spec.Hidden)))
			case train.KL:
				loss, _ = ref.KLDivergence(yhat, c.y[i], 1/n, temperature)
			case train.NMSE:
				loss, _ = ref.MSE(yhat, c.y[i], 1/c.change)
			case train.Cosine:
				loss, _ = ref.CosineLoss(yhat, c.y[i], 1/n)
			case train.KLLens:
				loss, _ = ref.KLDivergence(oracle.LogitsOf(yhat), oracle.LogitsOf(c.y[i]), 1/n, temperature)
			}
			for _, v := range loss {
				sums[k] += v
			}
		}
	}
	return sums
}

// check compares a device's training for an objective, in batches of so many windows.
func (c *layerCase) check(t *testing.T, d *vk.Device, k, batch int) {
	t.Helper()
	o, what := train.Objectives[k], fmt.Sprintf("%s, %s, %d windows of %d in batches of %d", c.name, train.Objectives[k], c.windows, c.window, batch)
	f := trainingOn(t, d, c.m, c.windows, c.window, batch)
	trained, err := train.NewLayer(t.Context(), f, c.m, c.m, c.layer, o, train.Setup{})
	if err != nil {
		t.Fatal(err)
	}
	defer trained.Close()
	trained.Begin()
	for w := 0; w < c.windows; w += batch {
		begin, end := w*c.window*c.spec.Hidden, min(c.windows, w+batch)*c.window*c.spec.Hidden
		x, y := onDevice(t, d, c.xs[begin:end], c.spec.Hidden), onDevice(t, d, c.ys[begin:end], c.spec.Hidden)
		target := train.Target{Objective: o, Temperature: temperature, Tokens: c.windows * c.window, Change: c.change}
		if err := trained.Add(x, y, target); err != nil {
			t.Fatal(err)
		}
	}
	loss, err := trained.Loss(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := c.losses[k]; !(math.Abs(loss-want) <= 1e-4*want) {
		t.Errorf("%s: the loss is %v, want %v", what, loss, want)
	}
	grads, err := trained.Gradients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c.list == nil {
		c.list = derivatives(grads, 6, func() ([][]float64, func() []float64) {
			own, err := ref.LoadModel(c.dir)
			if err != nil {
				panic(err)
			}
			return oracleLayer(&own.Layers[c.layer]), func() []float64 { return c.lossesOf(own) }
		})
	}
	checkGradients(t, what, grads, oracleLayer(&c.oracle.Layers[c.layer]), c.list, k)
}

// differentiable are the architectures that have gradients.
func differentiable(t *testing.T) (names []string) {
	t.Helper()
	for _, name := range modeltest.Distinct() {
		spec, err := modeltest.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := arch.ParseConfig(name, spec.Config(t))
		if err != nil {
			t.Fatal(err)
		}
		if c.CheckGradients() == nil {
			names = append(names, name)
		}
	}
	return names
}

// The gradients of every part of a layer of every architecture are those of the reference, on every device; of two of them on every
// tier. Every objective has its turn.
func TestLayerGradients(t *testing.T) {
	var cases []*layerCase
	for i, name := range differentiable(t) {
		if i%2 == 0 {
			cases = append(cases, newLayerCase(t, name, 3, 13))
		} else {
			cases = append(cases, newLayerCase(t, name, 2, 16))
		}
	}
	each := func(tiers bool) func(t *testing.T, d *vk.Device) {
		return func(t *testing.T, d *vk.Device) {
			for i, c := range cases {
				if tiers == (c.name == "qwen3-window" || c.name == "opt") {
					c.check(t, d, 0, c.windows)
					c.check(t, d, 1+i%(len(train.Objectives)-1), 2)
				}
			}
		}
	}
	vktest.Each(t, each(false))
	vktest.EachTier(t, each(true))
}

// The gradients of all weights of a model, against a teacher of twice the depth, are those of the reference.
func TestModelGradients(t *testing.T) {
	type pair struct {
		name     string
		teacher  *model.Model
		student  *model.Model
		dir      string
		oracle   *ref.Model
		windows  int
		window   int
		logits   []ref.Mat // the teacher's
		list     []derivative
		loss     float64
		tokens   [][]uint32
		lossesOf func(m *ref.Model) []float64
		tied     bool
	}
	var cases []*pair
	for i, name := range []string{"llama", "qwen3-window", "opt", "gemma2", "granite"} {
		spec, err := modeltest.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		spec.Vocab, spec.Context = 97, 24
		c := &pair{name: name, windows: []int{3, 2, 3, 2, 3}[i], window: []int{13, 16, 13, 11, 13}[i], tied: spec.Tied}
		var dir string
		c.teacher, dir = spec.Open(t)
		spec.Layers, spec.Seed = 2, 5
		if spec.Extra["layer_types"] != nil {
			spec.Extra["layer_types"] = []string{"full_attention", "sliding_attention"}
		}
		c.student, c.dir = spec.Open(t)
		teacher, err := ref.LoadModel(dir)
		if err != nil {
			t.Fatal(err)
		}
		if c.oracle, err = ref.LoadModel(c.dir); err != nil {
			t.Fatal(err)
		}
		c.tokens = modeltest.Windows(spec.Vocab, c.windows, c.window)
		for _, w := range c.tokens {
			c.logits = append(c.logits, teacher.Logits(toInts(w)))
		}
		c.lossesOf = func(m *ref.Model) []float64 {
			sum := 0.0
			for i, w := range c.tokens {
				loss, _ := ref.KLDivergence(m.Logits(toInts(w)), c.logits[i], 1/float64(c.windows*c.window), temperature)
				for _, v := range loss {
					sum += v
				}
			}
			return []float64{sum}
		}
		c.loss = c.lossesOf(c.oracle)[0]
		cases = append(cases, c)
	}
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range cases {
			f := trainingOn(t, d, c.teacher, c.windows, c.window, 2)
			runAll(t, f, c.teacher)
			trained, err := train.NewModel(t.Context(), f, c.teacher, c.student, train.Setup{})
			if err != nil {
				t.Fatal(err)
			}
			loss, grads := addAll(t, f, trained)
			if !(math.Abs(loss-c.loss) <= 1e-4*c.loss) {
				t.Errorf("%s: the loss is %v, want %v", c.name, loss, c.loss)
			}
			if c.list == nil {
				c.list = derivatives(grads, 5, func() ([][]float64, func() []float64) {
					own, err := ref.LoadModel(c.dir)
					if err != nil {
						panic(err)
					}
					return oracleWeights(own, c.tied), func() []float64 { return c.lossesOf(own) }
				})
			}
			checkGradients(t, c.name, grads, oracleWeights(c.oracle, c.tied), c.list, 0)
			trained.Close()
		}
	})
}

// runAll takes a Forward through its model and keeps the states at all boundaries.
func runAll(t *testing.T, f *run.Forward, m *model.Model) {
	t.Helper()
	if err := f.Embed(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	for l := range m.Layers {
		if err := f.Layer(t.Context(), m, l, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// wholeTrainer is a training of a model.
type wholeTrainer interface {
	trainer
	Add(ctx context.Context, batch int, target train.Target) error
	Measure(ctx context.Context, batch int, target train.Target) error
	Loss(ctx context.Context) (float64, error)
	Gradients(ctx context.Context) ([][]float32, error)
}

// addAll adds all batches of f to a step of a model's training, and gives loss and gradients.
func addAll(t *testing.T, f *run.Forward, trained wholeTrainer) (loss float64, grads [][]float32) {
	t.Helper()
	trained.Begin()
	for b := range f.Corpus.Batches {
		if err := trained.Add(t.Context(), b, train.Target{Temperature: temperature, Tokens: len(f.Corpus.Windows) * f.Corpus.Window}); err != nil {
			t.Fatal(err)
		}
	}
	loss, err := trained.Loss(t.Context())
	if err == nil {
		grads, err = trained.Gradients(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return loss, grads
}

func toInts(w []uint32) []int {
	out := make([]int, len(w))
	for i, v := range w {
		out[i] = int(v)
	}
	return out
}
