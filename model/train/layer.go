package train

import (
	"context"
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
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
	config   *arch.Config
	layer    int // of the model, for what depends on it
	pass     backprop
	out      *vk.Buffer // [rows, hidden]: what the layer gives, then its gradient
	logits   *graph.LensPass
	frozen   graph.Lens
}

// NewLayer prepares to train what setup says of layer l of m on states of f, which is teacher's: that has the final norm and LM head of
// kl-lens. The caller closes it before f.
func NewLayer(ctx context.Context, f *run.Forward, teacher, m *model.Model, l int, o Objective, setup Setup) (*LayerTraining, error) {
	if err := m.Config.CheckGradients(); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	t := newLayer(ctx, f.Recorder().Device().NewScope(), f.Recorder(), teacher, m, l, f.Corpus.Window, f.Corpus.Most, o, setup)
	t.f = f
	if err := t.finish(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// newLayer allocates; of a dry scope it counts.
func newLayer(ctx context.Context, s *vk.Scope, r *vk.Recorder, teacher, m *model.Model, l, window, rows int, o Objective, setup Setup) *LayerTraining {
	c, layer := m.Config, m.Layers[l]
	t := &LayerTraining{training: training{scope: s}, config: c, layer: l}
	t.sets = []*trained{layerSet(m, l).open(ctx, s, r, setup)}
	shared := graph.NewShared(ctx, s, r, m, window)
	t.pass = newBackprop(s, r, m, []*model.Layer{layer}, shared, window, rows, 1, setup.Rank)
	t.out = s.Buffer("trained layer's output", 4*int64(rows)*int64(c.HiddenSize), vk.OnDevice)
	t.loss = s.Buffer("losses", 4*int64(rows), vk.OnDevice)
	t.opt = newOptimizer(s, t.gradients())
	if o == KLLens {
		t.frozen = graph.NewLens(ctx, s, r, teacher)
		t.logits = graph.NewLensPass(s, teacher, rows, true, false)
	}
	return t
}

// Add records a batch: its loss, and the gradients of the layer's weights, are added to the step's.
func (t *LayerTraining) Add(x, y op.Tensor, target Target) error {
	t.record(x, y, target, true)
	return t.f.Recorder().Err()
}

// Measure records a batch's loss alone.
func (t *LayerTraining) Measure(x, y op.Tensor, target Target) error {
	t.record(x, y, target, false)
	return t.f.Recorder().Err()
}

func (t *LayerTraining) record(x, y op.Tensor, target Target, train bool) {
	r := t.f.Recorder()
	out, loss, params := graph.Floats(t.out, x.Rows, x.Cols), graph.Floats(t.loss, 1, x.Rows), t.sets[0]
	t.pass.forward(t.layer, 0, params.joined, out, x)
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
		t.logits.Record(r, loss, grad, out, t.frozen, graph.LensTarget{Y: y, Teacher: t.frozen, Tau: tau}, graph.Lens{}, float32(1/n))
	default:
		op.MSE(r, loss, grad, out, y, float32(1/(n*float64(t.config.HiddenSize))))
	}
	t.opt.addLoss(r, loss)
	if train {
		t.pass.backward(t.layer, 0, params.copies, x, params.into(grad, op.Tensor{}))
	}
}

// Change is ‖Y−X‖² of a batch of states: what nmse divides by, summed over those of a step.
func (t *LayerTraining) Change(ctx context.Context, x, y op.Tensor) (float64, error) {
	r, loss := t.f.Recorder(), graph.Floats(t.loss, 1, x.Rows)
	op.MSE(r, loss, op.Tensor{}, y, x, 1)
	if err := r.Wait(ctx); err != nil {
		return 0, err
	}
	values := make([]float32, x.Rows)
	if err := graph.Read(ctx, r.Device(), values, loss); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, v := range values {
		sum += float64(v)
	}
	return sum, nil
}
