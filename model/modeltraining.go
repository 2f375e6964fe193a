package model

import (
	"context"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// ModelTraining trains all weights of a model against a teacher's logits. Everything is on the device: weights, gradients and moments,
// and one batch's activations of every layer.
type ModelTraining struct {
	training // of the layers, one set each, and of top; f is the teacher's Forward, whose last states are compared with
	m        *Model
	top      *trained // by the places in Model.top; no LM head where it is the embedding
	tapes    []tape
	back     backScratch
	states   []*vk.Buffer // what enters each layer, and what leaves the last
	loss     *vk.Buffer
	grad     *vk.Buffer
	ids      [3]*vk.Buffer // see op.EmbeddingRows
	words    *vk.Buffer    // the tokens of a batch
	rope     fixed
	lens     *lensPass
	teacher  frozenLens
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
	tokens := f.batch * f.window
	t = &ModelTraining{training: training{f: f}, m: m, tapes: make([]tape, len(m.Layers)), states: make([]*vk.Buffer, len(m.Layers)+1)}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	var widest int64
	for i, l := range m.Layers {
		p, err := newTrained(ctx, f.r, l.Parts[:], partJoins, decays)
		if err != nil {
			return t, err
		}
		t.sets, widest = append(t.sets, p), max(widest, widestMatrix(l))
		if err := allocate(d, tokens, t.tapes[i].list(d, c)); err != nil {
			return t, err
		}
	}
	if t.top, err = newTrained(ctx, f.r, m.trainedTop(), topJoins, topDecays); err != nil {
		return t, err
	}
	t.sets = append(t.sets, t.top)
	if err = t.back.allocate(d, c, tokens, widest); err != nil {
		return t, err
	}
	if err = allocate(d, tokens, t.own(c)); err != nil {
		return t, err
	}
	for i := range t.ids {
		if t.ids[i], err = d.NewBuffer("token ids", 4*int64(tokens+1), vk.OnDevice); err != nil {
			return t, err
		}
	}
	if t.opt, err = newOptimizer(d, t.gradients()); err != nil {
		return t, err
	}
	if t.teacher, err = newFrozenLens(ctx, f.r, teacher); err != nil {
		return t, err
	}
	if t.rope, err = newFixed(f.r, m, f.window); err != nil {
		return t, err
	}
	t.lens, err = newLensPass(d, m, tokens, true, true)
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
	t.close()
	for i := range t.tapes {
		free(d, t.tapes[i].list(d, new(Config)))
	}
	t.back.free(d)
	free(d, t.own(new(Config)))
	d.Free(t.ids[:]...)
	if t.lens != nil {
		t.lens.free()
	}
	t.teacher.fixed.free(d)
	t.rope.free(d)
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
		run.record(r, c, l, t.sets[l].joined, &t.tapes[l].scratch, state(l+1), state(l), t.rope.rope, window)
	}
	loss, grad := rows(t.loss, 1, n), op.Tensor{}
	grads := lens{}
	if train {
		grad, grads = rows(t.grad, n, c.HiddenSize), lensOf(t.m, t.top.grads)
	}
	last := len(t.m.Layers)
	t.lens.record(r, loss, grad, state(last), lensOf(t.m, t.top.copies), lensTarget{y: y, teacher: t.teacher.lens, tau: float32(target.Temperature)}, grads,
		float32(1/float64(target.Tokens)))
	t.opt.addLoss(r, loss)
	if !train {
		return r.Err()
	}
	for l := last - 1; l >= 0; l-- {
		t.tapes[l].backward(r, c, l, t.sets[l].copies, t.sets[l].grads, &t.back, grad, grad, state(l), t.rope.rope, window)
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
