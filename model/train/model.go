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

// ModelTraining trains a model against a teacher's logits. Everything is on the device: weights, gradients and moments, and one batch's
// activations of every layer. StreamedTraining makes the same bits of less device memory, in more time.
type ModelTraining struct {
	training // of the layers, one set each, and of those outside; f is the teacher's Forward, whose last states are compared with
	m        *model.Model
	setup    Setup
	last     int      // boundary of the teacher's last states; behind it are the gradients of what enters the first layer
	entered  []int    // batches since Begin whose embeddings have no gradients yet
	top      *trained // the weights outside the layers, from arch.Embed on; no LM head where it is the embedding
	pass     backprop
	states   []*vk.Buffer // what enters each layer, and what leaves the last
	grad     *vk.Buffer
	ids      tokenIDs
	words    *vk.Buffer // the tokens of a batch
	logits   *graph.LensPass
	teacher  graph.Lens
}

// NewModel prepares to train what setup says of m against teacher, whose states f has at its last boundary.
func NewModel(ctx context.Context, f *run.Forward, teacher, m *model.Model, setup Setup) (*ModelTraining, error) {
	if err := m.Config.CheckGradients(); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	t := newModel(ctx, f.Recorder().Device().NewScope(), f.Recorder(), teacher, m, f.Corpus.Window, f.Corpus.Most, setup)
	t.f = f
	if err := t.finish(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// newModel allocates; of a dry scope it counts.
func newModel(ctx context.Context, s *vk.Scope, r *vk.Recorder, teacher, m *model.Model, window, rows int, setup Setup) *ModelTraining {
	t := &ModelTraining{training: training{scope: s}, m: m, setup: setup, last: len(teacher.Layers)}
	for l := range m.Layers {
		t.sets = append(t.sets, layerSet(m, l).open(ctx, s, r, setup))
	}
	t.top = topSet(m).open(ctx, s, r, setup)
	t.sets = append(t.sets, t.top)
	shared := graph.NewShared(ctx, s, r, m, window)
	t.pass = newBackprop(s, r, m, m.Layers, shared, window, rows, len(m.Layers), setup.Rank)
	hidden := func(name string) *vk.Buffer {
		return s.Buffer(name, 4*int64(rows)*int64(m.Config.HiddenSize), vk.OnDevice)
	}
	for range len(m.Layers) + 1 {
		t.states = append(t.states, hidden("hidden states"))
	}
	t.grad, t.loss, t.words = hidden("gradients of hidden states"), s.Buffer("losses", 4*int64(rows), vk.OnDevice), s.Buffer("tokens", 4*int64(rows), vk.OnDevice)
	t.ids = newTokenIDs(s, rows)
	t.opt = newOptimizer(s, t.gradients())
	t.teacher = graph.NewLens(ctx, s, r, teacher)
	t.logits = graph.NewLensPass(s, m, rows, true, setup.Rank == 0)
	return t
}

// Begin starts a step: gradients and loss are 0.
func (t *ModelTraining) Begin() {
	t.training.Begin()
	t.entered = nil
}

// Add records a batch, by its number: its loss, and the gradients of what is trained, are added to the step's. Target has the tokens and the
// temperature.
func (t *ModelTraining) Add(ctx context.Context, batch int, target Target) error {
	return t.record(ctx, batch, target, true)
}

// Measure records a batch's loss alone.
func (t *ModelTraining) Measure(ctx context.Context, batch int, target Target) error {
	return t.record(ctx, batch, target, false)
}

// Step takes the step that the batches since Begin make, and waits for it.
func (t *ModelTraining) Step(ctx context.Context, clip float64, p op.AdamWParams) (StepResult, error) {
	if err := t.embeddings(ctx); err != nil {
		return StepResult{}, err
	}
	return t.training.Step(ctx, clip, p)
}

// Gradients waits for the batches since Begin and reads the gradients of what is trained: those of all weights, in the order of Values, where
// those of absent ones are nil; or those of A and of B transposed, of one matrix after the other.
func (t *ModelTraining) Gradients(ctx context.Context) ([][]float32, error) {
	if err := t.embeddings(ctx); err != nil {
		return nil, err
	}
	return t.training.Gradients(ctx)
}

// Close waits for what was recorded and frees what the training holds.
func (t *ModelTraining) Close() {
	t.training.Close()
	t.f.States().Drop(t.last + 1)
}

// topSet is the weights outside the layers, from arch.Embed on; no LM head where it is the embedding.
func topSet(m *model.Model) weightSet {
	return weightSet{first: arch.Embed, number: len(m.Layers), weights: m.OwnTop()}
}

// outside is the tensor of a role among those of the weights outside the layers.
func outside(of []op.Tensor, r arch.Role) op.Tensor { return of[r-arch.Embed] }

// lensOf is the copies or the gradients of the weights outside the layers as a lens.
func lensOf(c *arch.Config, of []op.Tensor) graph.Lens {
	l := graph.Lens{Norm: outside(of, arch.FinalNorm), NormBias: outside(of, arch.FinalNormBias), Head: outside(of, arch.Head)}
	if c.TieWordEmbeddings {
		l.Head = outside(of, arch.Embed)
	}
	return l
}

// tokensOf are the tokens of a batch of f.
func tokensOf(f *run.Forward, batch int) []uint32 {
	b := f.Corpus.Batches[batch]
	return slices.Concat(f.Corpus.Windows[b.Begin:b.End]...)
}

func (t *ModelTraining) record(ctx context.Context, batch int, target Target, train bool) error {
	c, r, window, f := t.m.Config, t.f.Recorder(), t.f.Corpus.Window, t.f
	tokens := tokensOf(f, batch)
	y, err := f.States().Tensor(ctx, t.last, batch)
	if err != nil {
		return err
	}
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
		grad, grads = graph.Floats(t.grad, n, c.HiddenSize), lensOf(c, t.top.grads)
	}
	against := graph.LensTarget{Y: y, Teacher: t.teacher, Tau: float32(target.Temperature)}
	t.logits.Record(r, loss, grad, state(last), lensOf(c, t.top.copies), against, grads, float32(1/float64(target.Tokens)))
	t.opt.addLoss(r, loss)
	if !train {
		return r.Err()
	}
	for l := last - 1; l >= 0; l-- {
		dx := grad
		if l == 0 && t.setup.Rank > 0 {
			dx = op.Tensor{}
		}
		t.pass.backward(l, l, t.sets[l].copies, state(l), t.sets[l].into(grad, dx))
	}
	if t.setup.Rank > 0 {
		return r.Err()
	}
	t.entered = append(t.entered, batch)
	return f.States().Produce(ctx, t.last+1, []int{batch}, func(_ int, out op.Tensor) error {
		r.Copy(out.View, grad.View)
		return r.Err()
	})
}

// embeddings records the gradients of the embedding and of learned positions that the batches since Begin make: after those of a head that is
// the embedding, of all batches, as where these are not on the device together.
func (t *ModelTraining) embeddings(ctx context.Context) error {
	for _, batch := range t.entered {
		if err := t.ids.backward(ctx, t.f, t.m.Config, t.top, t.last+1, batch); err != nil {
			return err
		}
	}
	t.entered = nil
	return nil
}

// tokenIDs is the place of op.EmbeddingRows.
type tokenIDs [3]*vk.Buffer

func newTokenIDs(s *vk.Scope, rows int) (b tokenIDs) {
	for i := range b {
		b[i] = s.Buffer("token ids", 4*int64(rows+1), vk.OnDevice)
	}
	return b
}

// backward records the gradients of the embedding and of learned positions that a batch makes, whose states have theirs at a boundary of f.
func (b tokenIDs) backward(ctx context.Context, f *run.Forward, c *arch.Config, top *trained, boundary, batch int) error {
	r := f.Recorder()
	grad, err := f.States().Tensor(ctx, boundary, batch)
	if err != nil {
		return err
	}
	if err := r.Wait(ctx); err != nil { // the last batch's tokens are read until then
		return err
	}
	var sorted op.EmbeddingRows
	ids, starts, order := op.SortTokens(tokensOf(f, batch))
	for i, part := range []struct {
		to   *op.Tensor
		list []uint32
	}{{&sorted.IDs, ids}, {&sorted.Starts, starts}, {&sorted.Order, order}} {
		if *part.to, err = graph.PutWords(ctx, r.Device(), b[i], part.list); err != nil {
			return err
		}
	}
	if c.LearnedPositions {
		op.PositionsBackward(r, outside(top.grads, arch.Positions), grad, f.Corpus.Window, arch.PositionOffset)
	}
	graph.ScaleEmbeddings(r, float32(c.EmbeddingScale), grad)
	op.EmbeddingBackward(r, outside(top.grads, arch.Embed), grad, sorted)
	return r.Err()
}
