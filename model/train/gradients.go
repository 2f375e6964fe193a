package train

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
)

// Gradients takes the corpus of f back through m, layer by layer: visit sees, of each layer and batch, the gradients of the batch's
// loss, by arch.Role in F32 beside the weights, good for recording until it returns. The loss is the mean cross-entropy of the batch's tokens
// given those before them in their window. The states of all boundaries must be kept. One layer's weights and gradients and one batch's
// activations are on the device at a time; gradients of states lie where states do. progress, if not nil, is called after each layer.
func Gradients(ctx context.Context, f *run.Forward, m *model.Model, visit func(layer int, b run.Batch, w, g []op.Tensor) error, progress func(done, total int)) (err error) {
	layers := len(m.Layers)
	if err := m.Config.CheckGradients(); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if f.Corpus.Window < 2 {
		return errors.New("model: gradients: windows of one token have no loss; use a longer corpus.Options.Window")
	}
	for b := range layers + 1 {
		if err := f.States().Need(b); err != nil {
			return fmt.Errorf("model: %w", err)
		}
	}
	scope := f.Recorder().Device().NewScope()
	g := newGradientPass(scope, f.Recorder(), m, f.Shared(), f.Corpus.Window, f.Corpus.Most)
	g.f = f
	defer func() {
		err = errors.Join(err, f.Wait(context.WithoutCancel(ctx)))
		scope.Free()
	}()
	if err := scope.Err(); err != nil {
		return fmt.Errorf("model: %s: gradients: %w", m.Name, err)
	}
	if err := g.head(ctx); err != nil {
		return fmt.Errorf("model: %s: gradients of the LM head: %w", m.Name, err)
	}
	for l := layers - 1; l >= 0; l-- {
		if err := g.layer(ctx, l, visit); err != nil {
			return fmt.Errorf("model: %s: gradients of layer %d: %w", m.Name, l, err)
		}
		if progress != nil {
			progress(layers-l, layers)
		}
	}
	f.States().Drop(g.boundary(0))
	return nil
}

// backwardRuns is how many runs of a layer its backward pass counts for: it is run again, and has two products for each of its own.
const backwardRuns = 3

// GradientPasses is how many passes of a layer its gradients take, those forward with them.
const GradientPasses = 1 + backwardRuns

// gradientPass is a backward pass on its way.
type gradientPass struct {
	f     *run.Forward
	m     *model.Model
	pass  backprop
	out   *vk.Buffer // what a layer gives
	dy    *vk.Buffer // its gradient, on the way from the host
	loss  *vk.Buffer
	words *vk.Buffer   // targets
	grads []*vk.Buffer // by role
	own   []*vk.Buffer // weights that lie where they cannot be bound, once more
}

// newGradientPass allocates; of a dry scope it counts.
func newGradientPass(s *vk.Scope, r *vk.Recorder, m *model.Model, shared graph.Shared, window, rows int) *gradientPass {
	g := &gradientPass{m: m}
	g.pass = newBackprop(s, r, m, m.Layers, shared, window, rows, 1, 0)
	var floats, unbound [arch.LayerRoles]int64 // of each role at most: elements, and bytes where it cannot be bound
	for _, l := range m.Layers {
		places, _ := graph.Layout(s.Device(), l.Weights[:], graph.RoleJoins)
		for role, w := range l.Weights {
			floats[role] = max(floats[role], w.Elements())
			if places[role] != graph.Aligned(s.Device(), places[role]) {
				unbound[role] = max(unbound[role], w.Size())
			}
		}
	}
	for role := range arch.LayerRoles {
		g.grads, g.own = append(g.grads, s.Buffer("gradients", 4*floats[role], vk.OnDevice)), append(g.own, s.Buffer("weights", unbound[role], vk.OnDevice))
	}
	hidden := 4 * int64(rows) * int64(m.Config.HiddenSize)
	g.out, g.dy = s.Buffer("layer's output", hidden, vk.OnDevice), s.Buffer("gradients of hidden states", hidden, vk.OnDevice)
	g.loss, g.words = s.Buffer("losses", 4*int64(rows), vk.OnDevice), s.Buffer("targets", 4*int64(rows), vk.OnDevice)
	return g
}

// boundary is the place among the Forward's states of the gradients of those at boundary l.
func (g *gradientPass) boundary(l int) int { return len(g.m.Layers) + 1 + l }

// headPass is what the gradients of the states that leave the last layer take besides; of a dry scope it counts.
func (g *gradientPass) headPass(ctx context.Context, s *vk.Scope, r *vk.Recorder, rows int) (graph.Lens, *graph.LensPass) {
	return graph.NewLens(ctx, s, r, g.m), graph.NewLensPass(s, g.m, rows, false, false)
}

// head makes the gradients of the states that leave the last layer.
func (g *gradientPass) head(ctx context.Context) (err error) {
	f, last := g.f, len(g.m.Layers)
	r := f.Recorder()
	scope := r.Device().NewScope()
	defer func() {
		err = errors.Join(err, f.Wait(context.WithoutCancel(ctx)))
		scope.Free()
	}()
	lens, pass := g.headPass(ctx, scope, r, f.Corpus.Most)
	if err := scope.Err(); err != nil {
		return err
	}
	return f.States().Produce(ctx, g.boundary(last), f.States().All(), func(batch int, out op.Tensor) error {
		b := f.Corpus.Batches[batch]
		if err := r.Wait(ctx); err != nil { // the last batch's targets are read until then
			return err
		}
		x, err := f.States().Tensor(ctx, last, batch)
		if err != nil {
			return err
		}
		tokens := op.Of(g.words.All(), dtype.F32, 1, x.Rows)
		if err := r.Device().Upload(ctx, tokens.View, graph.Words(f.Corpus.Targets(batch))); err != nil {
			return err
		}
		scored := b.Windows() * (f.Corpus.Window - 1)
		pass.Record(r, graph.Floats(g.loss, 1, x.Rows), out, x, lens, graph.LensTarget{Tokens: tokens}, graph.Lens{}, float32(1/float64(scored)))
		return r.Err()
	})
}

// layer makes the gradients of a layer, and of the states that enter it.
func (g *gradientPass) layer(ctx context.Context, l int, visit func(layer int, b run.Batch, w, g []op.Tensor) error) error {
	f, layer := g.f, g.m.Layers[l]
	r := f.Recorder()
	weights, err := f.Cache().Layer(ctx, r, layer)
	if err != nil {
		return err
	}
	defer f.Cache().Release(layer)
	grads, bound := make([]op.Tensor, arch.LayerRoles), slices.Clone(weights)
	for role, w := range layer.Weights {
		if w.IsZero() {
			continue
		}
		grads[role] = graph.Floats(g.grads[role], w.Rows, w.Cols)
		if own := g.own[role]; own != nil {
			bound[role] = op.Of(own.View(0, w.Size()), w.DType, w.Rows, w.Cols)
			r.Copy(bound[role].View, weights[role].View)
		}
	}
	err = f.States().Produce(ctx, g.boundary(l), f.States().All(), func(batch int, dx op.Tensor) error {
		x, err := f.States().Tensor(ctx, l, batch)
		if err != nil {
			return err
		}
		dy, err := f.States().Upload(ctx, f.States().At(g.boundary(l+1)), batch, g.dy)
		if err != nil {
			return err
		}
		for _, t := range grads {
			if !t.IsZero() {
				op.Zero(r, t)
			}
		}
		g.pass.forward(l, 0, weights, graph.Floats(g.out, x.Rows, x.Cols), x)
		f.Count(run.Runs{All: backwardRuns * f.Corpus.Batches[batch].Windows()})
		g.pass.backward(l, 0, bound, x, graph.Gradients{W: grads, DY: dy, DX: dx})
		return errors.Join(r.Err(), visit(l, f.Corpus.Batches[batch], bound, grads))
	})
	if err = errors.Join(err, f.Wait(ctx)); err != nil {
		return err
	}
	f.States().Drop(g.boundary(l + 1))
	return nil
}

// GradientOptions are those of a Forward for the gradients of each window by itself, where o is what is best for scores.
func GradientOptions(o run.Options) run.Options {
	o.BatchWindows, o.StatesOnHost, o.KeepWeights = 1, true, false
	return o
}

// GradientBoundaries is how many boundaries' states are kept together: those of the model, the gradients of two of them, and those that
// enter the model once more, in the Forward beside.
func GradientBoundaries(m *model.Model) int { return len(m.Layers) + 4 }
