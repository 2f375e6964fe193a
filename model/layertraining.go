package model

import (
	"context"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Objective is what a layer's training makes small, by what it gives and what it should. Source: CoMe, arXiv 2510.15304, of which KL is the
// figure 1; the others are ours.
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
	training // of the one set of the layer's weights
	config   *Config
	fixed    fixed
	layer    int // of the model, for what depends on it
	tape     tape
	back     backScratch
	out      *vk.Buffer // [tokens, hidden]: what the layer gives, then its gradient
	loss     *vk.Buffer // [1, tokens]
	lens     *lensPass
	frozen   frozenLens
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
	t = &LayerTraining{training: training{f: f}, config: c, layer: l}
	tokens := f.batch * f.window
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	params, err := newTrained(ctx, f.r, layer.Parts[:], partJoins, decays)
	if err != nil {
		return t, err
	}
	t.sets = []*trained{params}
	if t.fixed, err = newFixed(f.r, m, f.window); err != nil {
		return t, err
	}
	if err = allocate(d, tokens, t.tape.list(d, c)); err != nil {
		return t, err
	}
	if err = t.back.allocate(d, c, tokens, widestMatrix(layer)); err != nil {
		return t, err
	}
	if err = allocate(d, tokens, t.own(c)); err != nil {
		return t, err
	}
	if t.opt, err = newOptimizer(d, t.gradients()); err != nil {
		return t, err
	}
	if o == KLLens {
		if t.frozen, err = newFrozenLens(ctx, f.r, teacher); err != nil {
			return t, err
		}
		t.lens, err = newLensPass(d, teacher, tokens, true, false)
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
	t.close()
	free(d, t.tape.list(d, new(Config)))
	t.back.free(d)
	free(d, t.own(new(Config)))
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
	n := trainedBytes(d, layer.Parts[:], partJoins) + aligned(d, widestMatrix(layer)) + fixedBytes(m, window)
	n += 4 * int64(tokens) * (columns(t.tape.list(d, c)) + columns(t.back.list(d, c)) + columns(t.own(c)))
	if o == KLLens {
		n += frozenLensBytes(d, teacher) + lensBytes(d, teacher, tokens, true, false)
	}
	return n
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
	out, loss, params := rows(t.out, x.Rows, x.Cols), rows(t.loss, 1, x.Rows), t.sets[0]
	var run layerRun
	run.record(r, c, t.layer, params.joined, &t.tape.scratch, out, x, t.fixed.rope, window)
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
	t.opt.addLoss(r, loss)
	if train {
		t.tape.backward(r, c, t.layer, params.copies, params.grads, &t.back, op.Tensor{}, grad, x, t.fixed.rope, window)
	}
}

// Change is ‖Y−X‖² of a batch of states: what nmse divides by, summed over those of a step.
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
