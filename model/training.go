package model

import (
	"context"
	"fmt"
	"io"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Objective is what a layer's training makes small, by what it gives and what it should: ALGORITHM §7.
type Objective string

// The objectives. N is the tokens of a step, H the hidden size, Y the states wanted, Ŷ those given, X those that enter.
const (
	MSE    Objective = "mse"     // ‖Ŷ−Y‖²/(N·H)
	KL     Objective = "kl"      // τ²/N · Σ KL(softmax(Y/τ) ‖ softmax(Ŷ/τ)) over the hidden dimension
	NMSE   Objective = "nmse"    // ‖Ŷ−Y‖²/‖Y−X‖²
	Cosine Objective = "cos"     // the mean of 1 − cos(Ŷ, Y)
	KLLens Objective = "kl-lens" // KL of the logits that the frozen final norm and LM head give
)

// Objectives lists them.
var Objectives = []Objective{MSE, KL, NMSE, Cosine, KLLens}

// Target is what a layer is trained against.
type Target struct {
	Objective   Objective
	Temperature float64 // of kl and kl-lens
	Tokens      int     // N: of all micro-batches of a step together
	Change      float64 // nmse: ‖Y−X‖² of these tokens
}

// LayerTraining trains a decoder layer on batches of a Forward's states, on its recorder: the forward pass has the Forward's bits. One
// layer's weights, gradients and moments, and one batch's activations are on the device.
type LayerTraining struct {
	f       *Forward
	config  *Config
	fixed   fixed
	layer   int // of the model, for what depends on it
	params  *trained
	tape    tape
	back    backScratch
	out     *vk.Buffer // [tokens, hidden]: what the layer gives, then its gradient
	loss    *vk.Buffer // [1, tokens]
	opt     *optimizer
	lens    *lensPass
	frozen  frozenLens
	tokens  int
	anyLoss bool // of the step so far
}

func partJoins(i int) bool { return Part(i).joins() }

// decays says whether weight decay applies to a part: not to norms and biases.
func decays(i int) bool {
	p := Part(i)
	return !p.Bias() && p != InputNorm && p != PostNorm && p != QNorm && p != KNorm
}

// NewLayerTraining prepares to train layer l of m on states of f, which is teacher's: that has the final norm and LM head of kl-lens. The
// caller closes it before f.
func NewLayerTraining(ctx context.Context, f *Forward, teacher, m *Model, l int, o Objective) (t *LayerTraining, err error) {
	c, d, layer := m.Config, f.d, m.Layers[l]
	t = &LayerTraining{f: f, config: c, layer: l, tokens: f.batch * f.window}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	if t.params, err = newTrained(ctx, f.r, layer.Parts[:], partJoins, decays); err != nil {
		return t, err
	}
	if t.fixed, err = newFixed(f.r, m, f.window); err != nil {
		return t, err
	}
	if err = allocate(d, t.tokens, t.tape.list(d, c)); err != nil {
		return t, err
	}
	if err = t.back.allocate(d, c, t.tokens, widestMatrix(layer)); err != nil {
		return t, err
	}
	if err = allocate(d, t.tokens, t.own(c)); err != nil {
		return t, err
	}
	if t.opt, err = newOptimizer(d, t.params.gradients()); err != nil {
		return t, err
	}
	if o == KLLens {
		if t.frozen, err = newFrozenLens(ctx, f.r, teacher); err != nil {
			return t, err
		}
		t.lens, err = newLensPass(d, teacher, t.tokens, true, false)
	}
	return t, err
}

func (t *LayerTraining) own(c *Config) []buffer {
	return []buffer{{&t.out, "trained layer's output", c.HiddenSize}, {&t.loss, "losses", 1}}
}

// widestMatrix is the size of a layer's largest matrix.
func widestMatrix(l *Layer) (n int64) {
	for _, w := range l.Parts {
		n = max(n, w.Size())
	}
	return n
}

// Close frees what the training holds.
func (t *LayerTraining) Close() {
	d := t.f.d
	t.f.r.Wait(context.Background()) // nothing recorded may use what goes; its error is told by whoever waits next
	if t.params != nil {
		t.params.free()
	}
	free(d, t.tape.list(d, new(Config)))
	t.back.free(d)
	free(d, t.own(new(Config)))
	if t.opt != nil {
		t.opt.free()
	}
	if t.lens != nil {
		t.lens.free()
	}
	t.frozen.fixed.free(d)
	t.fixed.free(d)
}

// trainingBytes is the device memory that training layer l of m takes beside a Forward that rests, at most, for batches of so many tokens.
func trainingBytes(d *vk.Device, teacher, m *Model, l, window, tokens int, o Objective) int64 {
	var t LayerTraining
	c, layer := m.Config, m.Layers[l]
	n := trainedBytes(d, layer.Parts[:]) + aligned(d, widestMatrix(layer)) + fixedBytes(m, window)
	n += 4 * int64(tokens) * (columns(t.tape.list(d, c)) + columns(t.back.list(d, c)) + columns(t.own(c)))
	if o == KLLens {
		n += frozenLensBytes(d, teacher) + lensBytes(d, teacher, tokens, true, false)
	}
	return n
}

// Begin starts a step: gradients and loss are 0.
func (t *LayerTraining) Begin() {
	t.params.zero(t.f.r)
	t.anyLoss = false
}

// Add records a batch: its loss, and the gradients of the layer's weights, are added to the step's.
func (t *LayerTraining) Add(x, y op.Tensor, target Target) error {
	t.record(x, y, target, true)
	return t.f.r.Err()
}

// Measure records a batch's loss alone.
func (t *LayerTraining) Measure(x, y op.Tensor, target Target) error {
	t.record(x, y, target, false)
	return t.f.r.Err()
}

func (t *LayerTraining) record(x, y op.Tensor, target Target, train bool) {
	c, r, window := t.config, t.f.r, t.f.window
	out, loss := rows(t.out, x.Rows, x.Cols), rows(t.loss, 1, x.Rows)
	var run layerRun
	run.record(r, c, t.layer, t.params.copies, &t.tape.scratch, out, x, t.fixed.rope, window)
	grad := op.Tensor{}
	if train {
		grad = out
	}
	n, tau := float64(target.Tokens), float32(target.Temperature)
	switch target.Objective {
	case KL:
		op.KLDivergence(r, loss, grad, out, y, float32(1/n), tau)
	case NMSE:
		op.MSE(r, loss, grad, out, y, float32(1/target.Change))
	case Cosine:
		op.CosineLoss(r, loss, grad, out, y, float32(1/n))
	case KLLens:
		t.lens.record(r, loss, grad, out, t.frozen.lens, lensTarget{y: y, teacher: t.frozen.lens, tau: tau}, lens{}, float32(1/n))
	default:
		op.MSE(r, loss, grad, out, y, float32(1/(n*float64(c.HiddenSize))))
	}
	t.opt.addLoss(r, loss, !t.anyLoss)
	t.anyLoss = true
	if train {
		t.tape.backward(r, c, t.layer, t.params.copies, t.params.grads, &t.back, op.Tensor{}, grad, x, t.fixed.rope, window)
	}
}

// Step takes the step that the batches since Begin make, and waits for it.
func (t *LayerTraining) Step(ctx context.Context, clip float64, p op.AdamWParams) (StepResult, error) {
	return t.opt.step(ctx, t.f.r, float32(clip), p, t.params)
}

// Loss waits for the batches since Begin, which drops what Add added, and gives their loss.
func (t *LayerTraining) Loss(ctx context.Context) (float64, error) {
	control, err := t.opt.read(ctx, t.f.r)
	if err != nil {
		return 0, err
	}
	return float64(control[0]), nil
}

// Gradients waits for the batches since Begin and reads the gradients of the layer's weights, by Part; those of absent parts are nil.
func (t *LayerTraining) Gradients(ctx context.Context) ([][]float32, error) {
	return readGradients(ctx, t.f, t.params)
}

func readGradients(ctx context.Context, f *Forward, sets ...*trained) (list [][]float32, err error) {
	if err := f.r.Wait(ctx); err != nil {
		return nil, err
	}
	for _, t := range sets {
		for i, g := range t.grads {
			var values []float32
			if !t.weights[i].IsZero() {
				values = make([]float32, g.Elements())
				if err := download(ctx, f.d, values, g); err != nil {
					return nil, err
				}
			}
			list = append(list, values)
		}
	}
	return list, nil
}

// Values are the layer's weights as they are now, by Part, in host memory.
func (t *LayerTraining) Values(ctx context.Context) ([]Weight, error) { return t.params.values(ctx) }

// Save writes the weights and moments for Load: all that training goes on from.
func (t *LayerTraining) Save(ctx context.Context, to io.Writer) error { return t.params.save(ctx, to) }

// Load reads what Save wrote of a layer of the same shapes.
func (t *LayerTraining) Load(ctx context.Context, from io.Reader) error {
	return t.params.load(ctx, from)
}

// Change is ‖Y−X‖² of batches of states, summed over those that visit is given: what nmse divides by.
func (t *LayerTraining) Change(ctx context.Context, x, y op.Tensor) (float64, error) {
	loss := rows(t.loss, 1, x.Rows)
	op.MSE(t.f.r, loss, op.Tensor{}, y, x, 1)
	if err := t.f.r.Wait(ctx); err != nil {
		return 0, err
	}
	values := make([]float32, x.Rows)
	if err := download(ctx, t.f.d, values, loss); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, v := range values {
		sum += float64(v)
	}
	return sum, nil
}

// ModelTraining trains all weights of a model against a teacher's logits. Everything is on the device: weights, gradients and moments,
// and one batch's activations of every layer.
type ModelTraining struct {
	f       *Forward // of the teacher, whose last states are compared with
	m       *Model
	layers  []*trained
	top     *trained // by the places in Model.top; no LM head where it is the embedding
	tapes   []tape
	back    backScratch
	states  []*vk.Buffer // what enters each layer, and what leaves the last
	loss    *vk.Buffer
	grad    *vk.Buffer
	ids     [3]*vk.Buffer // see op.EmbeddingRows
	words   *vk.Buffer    // the tokens of a batch
	rope    fixed
	opt     *optimizer
	lens    *lensPass
	teacher frozenLens
	anyLoss bool
	tokens  int
}

// topJoins says that no weight outside the layers is joined with another.
func topJoins(int) bool { return false }

// topDecays says which of them decay.
func topDecays(i int) bool { return i != topNorm && i != topNormBias }

// trainedTop is the weights outside the layers that are trained.
func (m *Model) trainedTop() []Weight {
	list := make([]Weight, numTop)
	for i, w := range m.top() {
		if m.Config.topNames()[i] != "" {
			list[i] = *w
		}
	}
	return list
}

// NewModelTraining prepares to train m against teacher, whose states f has at its last boundary.
func NewModelTraining(ctx context.Context, f *Forward, teacher, m *Model) (t *ModelTraining, err error) {
	c, d := m.Config, f.d
	t = &ModelTraining{f: f, m: m, tokens: f.batch * f.window, tapes: make([]tape, len(m.Layers)), states: make([]*vk.Buffer, len(m.Layers)+1)}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	var grads []op.Tensor
	var widest int64
	for i, l := range m.Layers {
		p, err := newTrained(ctx, f.r, l.Parts[:], partJoins, decays)
		if err != nil {
			return t, err
		}
		t.layers, grads, widest = append(t.layers, p), append(grads, p.gradients()...), max(widest, widestMatrix(l))
		if err := allocate(d, t.tokens, t.tapes[i].list(d, c)); err != nil {
			return t, err
		}
	}
	if t.top, err = newTrained(ctx, f.r, m.trainedTop(), topJoins, topDecays); err != nil {
		return t, err
	}
	if err = t.back.allocate(d, c, t.tokens, widest); err != nil {
		return t, err
	}
	if err = allocate(d, t.tokens, t.own(c)); err != nil {
		return t, err
	}
	for i := range t.ids {
		if t.ids[i], err = d.NewBuffer("token ids", 4*int64(t.tokens+1), vk.OnDevice); err != nil {
			return t, err
		}
	}
	if t.opt, err = newOptimizer(d, append(grads, t.top.gradients()...)); err != nil {
		return t, err
	}
	if t.teacher, err = newFrozenLens(ctx, f.r, teacher); err != nil {
		return t, err
	}
	if t.rope, err = newFixed(f.r, m, f.window); err != nil {
		return t, err
	}
	t.lens, err = newLensPass(d, m, t.tokens, true, true)
	return t, err
}

func (t *ModelTraining) own(c *Config) []buffer {
	list := []buffer{{&t.grad, "gradients of hidden states", c.HiddenSize}, {&t.loss, "losses", 1}, {&t.words, "tokens", 1}}
	for i := range t.states {
		list = append(list, buffer{&t.states[i], "hidden states", c.HiddenSize})
	}
	return list
}

// modelTrainingBytes is the device memory that training all of m takes beside a Forward that rests, at most, for batches of so many
// tokens.
func modelTrainingBytes(d *vk.Device, teacher, m *Model, window, tokens int) int64 {
	c := m.Config
	t := ModelTraining{states: make([]*vk.Buffer, len(m.Layers)+1)}
	n, widest := trainedBytes(d, m.trainedTop()), int64(0)
	for _, l := range m.Layers {
		n += trainedBytes(d, l.Parts[:])
		widest = max(widest, widestMatrix(l))
	}
	var one tape
	n += 4*int64(tokens)*(int64(len(m.Layers))*columns(one.list(d, c))+columns(t.back.list(d, c))+columns(t.own(c))) + widest
	return n + 12*int64(tokens+1) + frozenLensBytes(d, teacher) + fixedBytes(m, window) + lensBytes(d, m, tokens, true, true)
}

// Close frees what the training holds.
func (t *ModelTraining) Close() {
	d := t.f.d
	t.f.r.Wait(context.Background()) // nothing recorded may use what goes; its error is told by whoever waits next
	for _, p := range append(t.layers, t.top) {
		if p != nil {
			p.free()
		}
	}
	for i := range t.tapes {
		free(d, t.tapes[i].list(d, new(Config)))
	}
	t.back.free(d)
	free(d, t.own(new(Config)))
	d.Free(t.ids[:]...)
	if t.opt != nil {
		t.opt.free()
	}
	if t.lens != nil {
		t.lens.free()
	}
	t.teacher.fixed.free(d)
	t.rope.free(d)
}

// sets are all weights that are trained.
func (t *ModelTraining) sets() []*trained { return append(append([]*trained{}, t.layers...), t.top) }

// Begin starts a step: gradients and loss are 0.
func (t *ModelTraining) Begin() {
	for _, p := range t.sets() {
		p.zero(t.f.r)
	}
	t.anyLoss = false
}

// Add records a batch: its loss, and the gradients of all weights, are added to the step's. Target has the tokens and the temperature.
func (t *ModelTraining) Add(ctx context.Context, b Batch, y op.Tensor, target Target) error {
	return t.record(ctx, b, y, target, true)
}

// Measure records a batch's loss alone.
func (t *ModelTraining) Measure(ctx context.Context, b Batch, y op.Tensor, target Target) error {
	return t.record(ctx, b, y, target, false)
}

// lensOf is a set of weights outside the layers as a lens: copies or gradients.
func lensOf(m *Model, of []op.Tensor) lens {
	l := lens{of[topNorm], of[topNormBias], of[topHead]}
	if m.Config.TieWordEmbeddings {
		l.head = of[topEmbed]
	}
	return l
}

func (t *ModelTraining) record(ctx context.Context, b Batch, y op.Tensor, target Target, train bool) error {
	c, r, d, window := t.m.Config, t.f.r, t.f.d, t.f.window
	var tokens []uint32
	for _, w := range t.f.windows[b.Begin:b.End] {
		tokens = append(tokens, w...)
	}
	if err := r.Wait(ctx); err != nil { // the last batch's tokens are read until then
		return err
	}
	n := len(tokens)
	list, err := wordsOf(ctx, d, t.words, tokens)
	if err != nil {
		return err
	}
	state := func(i int) op.Tensor { return rows(t.states[i], n, c.HiddenSize) }
	op.Embedding(r, state(0), t.top.copies[topEmbed], list, 0)
	if c.LearnedPositions {
		op.AddPositions(r, state(0), t.top.copies[topPositions], window, positionOffset)
	}
	for l := range t.m.Layers {
		var run layerRun
		run.record(r, c, l, t.layers[l].copies, &t.tapes[l].scratch, state(l+1), state(l), t.rope.rope, window)
	}
	loss, grad := rows(t.loss, 1, n), op.Tensor{}
	grads := lens{}
	if train {
		grad, grads = rows(t.grad, n, c.HiddenSize), lensOf(t.m, t.top.grads)
	}
	last := len(t.m.Layers)
	t.lens.record(r, loss, grad, state(last), lensOf(t.m, t.top.copies), lensTarget{y: y, teacher: t.teacher.lens, tau: float32(target.Temperature)}, grads,
		float32(1/float64(target.Tokens)))
	t.opt.addLoss(r, loss, !t.anyLoss)
	t.anyLoss = true
	if !train {
		return r.Err()
	}
	for l := last - 1; l >= 0; l-- {
		t.tapes[l].backward(r, c, l, t.layers[l].copies, t.layers[l].grads, &t.back, grad, grad, state(l), t.rope.rope, window)
	}
	var sorted op.EmbeddingRows
	ids, starts, order := op.SortTokens(tokens)
	for i, part := range []struct {
		to   *op.Tensor
		list []uint32
	}{{&sorted.IDs, ids}, {&sorted.Starts, starts}, {&sorted.Order, order}} {
		if *part.to, err = wordsOf(ctx, d, t.ids[i], part.list); err != nil {
			return err
		}
	}
	op.EmbeddingBackward(r, t.top.grads[topEmbed], grad, sorted)
	if c.LearnedPositions {
		op.PositionsBackward(r, t.top.grads[topPositions], grad, window, positionOffset)
	}
	return r.Err()
}

// Step takes the step that the batches since Begin make, and waits for it.
func (t *ModelTraining) Step(ctx context.Context, clip float64, p op.AdamWParams) (StepResult, error) {
	return t.opt.step(ctx, t.f.r, float32(clip), p, t.sets()...)
}

// Loss waits for the batches since Begin and gives their loss.
func (t *ModelTraining) Loss(ctx context.Context) (float64, error) {
	control, err := t.opt.read(ctx, t.f.r)
	if err != nil {
		return 0, err
	}
	return float64(control[0]), nil
}

// Gradients waits for the batches since Begin and reads the gradients of all weights, in the order of Values; those of absent ones are nil.
func (t *ModelTraining) Gradients(ctx context.Context) ([][]float32, error) {
	return readGradients(ctx, t.f, t.sets()...)
}

// Values are all weights as they are now, in host memory: layer by layer, by Part, then those outside the layers.
func (t *ModelTraining) Values(ctx context.Context) (list []Weight, err error) {
	for _, p := range t.sets() {
		values, err := p.values(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, values...)
	}
	return list, nil
}

// WithValues is the model with the weights that ModelTraining.Values gave for it. It shares all else and must not be closed.
func (m *Model) WithValues(values []Weight) *Model {
	out := *m
	out.Layers = nil
	for range m.Layers {
		out.Layers = append(out.Layers, NewLayer(values[:NumParts]))
		values = values[NumParts:]
	}
	for i, w := range out.top() {
		if !values[i].IsZero() {
			*w = values[i]
		}
	}
	if out.Config.TieWordEmbeddings {
		out.Head = out.Embed
	}
	return &out
}

// AllValues are the weights of a model in the order of ModelTraining.Values.
func (m *Model) AllValues() (list []Weight) {
	for _, l := range m.Layers {
		list = append(list, l.Parts[:]...)
	}
	return append(list, m.trainedTop()...)
}

// NewLayer is a layer of weights by Part, of which those that are absent are zero.
func NewLayer(parts []Weight) *Layer {
	l := &Layer{}
	copy(l.Parts[:], parts)
	return l
}

// Save writes the weights and moments for Load: all that training goes on from.
func (t *ModelTraining) Save(ctx context.Context, to io.Writer) error {
	for _, p := range t.sets() {
		if err := p.save(ctx, to); err != nil {
			return err
		}
	}
	return nil
}

// Load reads what Save wrote of a model of the same shapes.
func (t *ModelTraining) Load(ctx context.Context, from io.Reader) error {
	for _, p := range t.sets() {
		if err := p.load(ctx, from); err != nil {
			return err
		}
	}
	return nil
}

// StatePair is a batch's states at a boundary of source, a Forward of the same windows and batches that may be f itself, and at one of
// f, as tensors [tokens, hidden] on f's recorder that are good for recording until the next call. What was recorded is waited for.
func (f *Forward) StatePair(ctx context.Context, source *Forward, lower, upper, batch int) (x, y op.Tensor, err error) {
	if !source.has(lower, []int{batch}) || !f.has(upper, []int{batch}) {
		return x, y, fmt.Errorf("model: the states at boundaries %d and %d are not both kept", lower, upper)
	}
	if err := f.r.Wait(ctx); err != nil {
		return x, y, err
	}
	if x, err = source.chunkTensor(ctx, source.states[lower][batch], f.in, batch); err != nil {
		return x, y, err
	}
	y, err = f.chunkTensor(ctx, f.states[upper][batch], f.out, batch)
	return x, y, err
}

// TrainingMemory is the device memory that training takes at most, states and all, phase by phase.
type TrainingMemory struct {
	Forward int64 `json:"forward"`         // while layers run for the states that are trained on
	Layer   int64 `json:"layer"`           // while the largest layer is trained
	Whole   int64 `json:"whole,omitempty"` // while all weights are trained together
}

// Peak is the most of the phases.
func (t TrainingMemory) Peak() int64 { return max(t.Forward, t.Layer, t.Whole) }

// PredictTraining is the device memory for layers of m that learn from teacher on so many windows, in batches as the options say. Student
// says that they learn from states of m, whole that all of m is trained in the end.
func PredictTraining(d *vk.Device, teacher, m *Model, layers []int, windows, window int, o ForwardOptions, objective Objective, student, whole bool) (t TrainingMemory, err error) {
	f := &Forward{d: d, config: teacher.Config, windows: make([][]uint32, windows), window: window}
	if err := f.plan(teacher, o); err != nil {
		return t, err
	}
	tokens := f.batch * window
	rest := fixedBytes(teacher, window) + 2*int64(f.batch)*f.stateBytes() // staging of states
	t.Forward = f.taken
	if student {
		t.Forward += rest
		rest *= 2
	}
	for _, l := range layers {
		t.Layer = max(t.Layer, rest+trainingBytes(d, teacher, m, l, window, tokens, objective))
	}
	if whole {
		t.Whole = rest + modelTrainingBytes(d, teacher, m, window, tokens)
	}
	return t, nil
}
