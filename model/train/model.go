package train

import (
	"context"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
)

// ModelTraining trains all weights of a model against a teacher's logits. Everything is on the device: weights, gradients and moments,
// and one batch's activations of every layer.
type ModelTraining struct {
	training // of the layers, one set each, and of those outside; f is the teacher's Forward, whose last states are compared with
	m        *model.Model
	top      *trained // the weights outside the layers, from arch.Embed on; no LM head where it is the embedding
	pass     backprop
	states   []*vk.Buffer // what enters each layer, and what leaves the last
	grad     *vk.Buffer
	ids      [3]*vk.Buffer // see op.EmbeddingRows
	words    *vk.Buffer    // the tokens of a batch
	logits   *graph.LensPass
	teacher  graph.Lens
}

// NewModel prepares to train m against teacher, whose states f has at its last boundary.
func NewModel(ctx context.Context, f *run.Forward, teacher, m *model.Model) (*ModelTraining, error) {
	if err := m.Config.CheckGradients(); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	t := newModel(ctx, f.Recorder().Device().NewScope(), f.Recorder(), teacher, m, f.Corpus.Window, f.Corpus.Most)
	t.f = f
	if err := t.finish(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// newModel allocates; of a dry scope it counts.
func newModel(ctx context.Context, s *vk.Scope, r *vk.Recorder, teacher, m *model.Model, window, rows int) *ModelTraining {
	t := &ModelTraining{training: training{scope: s}, m: m}
	for _, l := range m.Layers {
		t.sets = append(t.sets, newTrained(ctx, s, r, 0, l.Weights[:]))
	}
	t.top = newTrained(ctx, s, r, arch.Embed, m.OwnTop())
	t.sets = append(t.sets, t.top)
	shared := graph.NewShared(ctx, s, r, m, window)
	t.pass = newBackprop(s, r, m, m.Layers, shared, window, rows, len(m.Layers))
	hidden := func(name string) *vk.Buffer {
		return s.Buffer(name, 4*int64(rows)*int64(m.Config.HiddenSize), vk.OnDevice)
	}
	for range len(m.Layers) + 1 {
		t.states = append(t.states, hidden("hidden states"))
	}
	t.grad, t.loss, t.words = hidden("gradients of hidden states"), s.Buffer("losses", 4*int64(rows), vk.OnDevice), s.Buffer("tokens", 4*int64(rows), vk.OnDevice)
	for i := range t.ids {
		t.ids[i] = s.Buffer("token ids", 4*int64(rows+1), vk.OnDevice)
	}
	t.opt = newOptimizer(s, t.gradients())
	t.teacher = graph.NewLens(ctx, s, r, teacher)
	t.logits = graph.NewLensPass(s, m, rows, true, true)
	return t
}

// Add records a batch: its loss, and the gradients of all weights, are added to the step's. Target has the tokens and the temperature.
func (t *ModelTraining) Add(ctx context.Context, b run.Batch, y op.Tensor, target Target) error {
	return t.record(ctx, b, y, target, true)
}

// Measure records a batch's loss alone.
func (t *ModelTraining) Measure(ctx context.Context, b run.Batch, y op.Tensor, target Target) error {
	return t.record(ctx, b, y, target, false)
}

// outside is the tensor of a role among those of the weights outside the layers.
func outside(of []op.Tensor, r arch.Role) op.Tensor { return of[r-arch.Embed] }

// lens is the copies or the gradients of the weights outside the layers as a lens.
func (t *ModelTraining) lens(of []op.Tensor) graph.Lens {
	l := graph.Lens{Norm: outside(of, arch.FinalNorm), NormBias: outside(of, arch.FinalNormBias), Head: outside(of, arch.Head)}
	if t.m.Config.TieWordEmbeddings {
		l.Head = outside(of, arch.Embed)
	}
	return l
}

func (t *ModelTraining) record(ctx context.Context, b run.Batch, y op.Tensor, target Target, train bool) error {
	c, r, window := t.m.Config, t.f.Recorder(), t.f.Corpus.Window
	tokens := slices.Concat(t.f.Corpus.Windows[b.Begin:b.End]...)
	if err := r.Wait(ctx); err != nil { // the last batch's tokens are read until then
		return err
	}
	list, err := graph.PutWords(ctx, r.Device(), t.words, tokens)
	if err != nil {
		return err
	}
	n, last := len(tokens), len(t.m.Layers)
	state := func(i int) op.Tensor { return graph.Floats(t.states[i], n, c.HiddenSize) }
	op.Embedding(r, state(0), outside(t.top.copies, arch.Embed), list, 0)
	graph.ScaleEmbeddings(r, float32(c.EmbeddingScale), state(0))
	if c.LearnedPositions {
		op.AddPositions(r, state(0), outside(t.top.copies, arch.Positions), window, arch.PositionOffset)
	}
	for l := range last {
		t.pass.forward(l, l, t.sets[l].joined, state(l+1), state(l))
	}
	loss, grad, grads := graph.Floats(t.loss, 1, n), op.Tensor{}, graph.Lens{}
	if train {
		grad, grads = graph.Floats(t.grad, n, c.HiddenSize), t.lens(t.top.grads)
	}
	against := graph.LensTarget{Y: y, Teacher: t.teacher, Tau: float32(target.Temperature)}
	t.logits.Record(r, loss, grad, state(last), t.lens(t.top.copies), against, grads, float32(1/float64(target.Tokens)))
	t.opt.addLoss(r, loss)
	if !train {
		return r.Err()
	}
	for l := last - 1; l >= 0; l-- {
		t.pass.backward(l, l, t.sets[l].copies, state(l), graph.Gradients{W: t.sets[l].grads, DY: grad, DX: grad})
	}
	return t.embeddingBackward(ctx, tokens, grad)
}

// embeddingBackward records the gradients of the embedding and of learned positions.
func (t *ModelTraining) embeddingBackward(ctx context.Context, tokens []uint32, grad op.Tensor) (err error) {
	r := t.f.Recorder()
	var sorted op.EmbeddingRows
	ids, starts, order := op.SortTokens(tokens)
	for i, part := range []struct {
		to   *op.Tensor
		list []uint32
	}{{&sorted.IDs, ids}, {&sorted.Starts, starts}, {&sorted.Order, order}} {
		if *part.to, err = graph.PutWords(ctx, r.Device(), t.ids[i], part.list); err != nil {
			return err
		}
	}
	if t.m.Config.LearnedPositions {
		op.PositionsBackward(r, outside(t.top.grads, arch.Positions), grad, t.f.Corpus.Window, arch.PositionOffset)
	}
	graph.ScaleEmbeddings(r, float32(t.m.Config.EmbeddingScale), grad)
	op.EmbeddingBackward(r, outside(t.top.grads, arch.Embed), grad, sorted)
	return r.Err()
}
