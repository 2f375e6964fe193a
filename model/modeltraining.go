package model

import (
	"context"
	"io"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

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
	n, widest := trainedBytes(d, m.trainedTop(), topJoins), int64(0)
	for _, l := range m.Layers {
		n += trainedBytes(d, l.Parts[:], partJoins)
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
		run.record(r, c, l, t.layers[l].joined, &t.tapes[l].scratch, state(l+1), state(l), t.rope.rope, window)
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
