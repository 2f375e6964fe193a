package model

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Gradients takes the corpus back through the model, layer by layer: visit sees, of each layer and batch, the gradients of the batch's
// loss, by Part in F32 beside the weights, good for recording until it returns. The loss is the mean cross-entropy of the batch's tokens
// given those before them in their window. The states of all boundaries must be kept. One layer's weights and gradients and one batch's
// activations are on the device at a time; gradients of states lie where states do. progress, if not nil, is called after each layer.
func (f *Forward) Gradients(ctx context.Context, m *Model, visit func(layer int, b Batch, w, g []op.Tensor) error, progress func(done, total int)) (err error) {
	layers := len(m.Layers)
	if f.window < 2 {
		return errors.New("model: gradients: windows of one token have no loss; use a longer corpus.Options.Window")
	}
	for b := range layers + 1 {
		if !f.Has(b) {
			return fmt.Errorf("model: the states at boundary %d are not kept", b)
		}
	}
	g := &gradientPass{f: f, m: m}
	defer func() {
		err = errors.Join(err, f.Wait(context.WithoutCancel(ctx)))
		g.free()
	}()
	if err := g.allocate(); err != nil {
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
	f.Drop(g.boundary(0))
	return nil
}

// backwardRuns is how many runs of a layer its backward pass counts for: it is run again, and has two products for each of its own.
const backwardRuns = 3

// GradientPasses is how many passes of a layer its gradients take, those forward with them.
const GradientPasses = 1 + backwardRuns

// gradientPass is a backward pass on its way.
type gradientPass struct {
	f     *Forward
	m     *Model
	tape  tape
	back  backScratch
	out   *vk.Buffer // what a layer gives
	dy    *vk.Buffer // its gradient, on the way from the host
	loss  *vk.Buffer
	words *vk.Buffer // targets
	grads []*vk.Buffer
	own   []*vk.Buffer // weights that lie where they cannot be bound, once more
}

// boundary is the place among the Forward's states of the gradients of those at boundary l.
func (g *gradientPass) boundary(l int) int { return len(g.m.Layers) + 1 + l }

func (g *gradientPass) list(c *Config) []buffer {
	return []buffer{{&g.out, "layer's output", c.HiddenSize}, {&g.dy, "gradients of hidden states", c.HiddenSize}, {&g.loss, "losses", 1}, {&g.words, "targets", 1}}
}

func (g *gradientPass) allocate() error {
	f, c, tokens := g.f, g.m.Config, g.f.batch*g.f.window
	var widest int64
	var sizes [NumParts]int64
	for _, l := range g.m.Layers {
		widest = max(widest, widestMatrix(l))
		for p, w := range l.Parts {
			sizes[p] = max(sizes[p], 4*int64(w.Rows)*int64(w.Cols))
		}
	}
	g.grads, g.own = make([]*vk.Buffer, NumParts), make([]*vk.Buffer, NumParts)
	for p, size := range sizes {
		if size == 0 {
			continue
		}
		b, err := f.d.NewBuffer("gradients", size, vk.OnDevice)
		if err != nil {
			return err
		}
		g.grads[p] = b
	}
	if err := allocate(f.d, tokens, g.tape.list(f.d, c)); err != nil {
		return err
	}
	if err := g.back.allocate(f.d, c, tokens, widest); err != nil {
		return err
	}
	return allocate(f.d, tokens, g.list(c))
}

func (g *gradientPass) free() {
	d := g.f.d
	d.Free(g.grads...)
	d.Free(g.own...)
	free(d, g.tape.list(d, new(Config)))
	g.back.free(d)
	free(d, g.list(new(Config)))
}

// head makes the gradients of the states that leave the last layer.
func (g *gradientPass) head(ctx context.Context) (err error) {
	f, last := g.f, len(g.m.Layers)
	frozen, err := newFrozenLens(ctx, f.r, g.m)
	if err != nil {
		return err
	}
	defer frozen.fixed.free(f.d)
	pass, err := newLensPass(f.d, g.m, f.batch*f.window, false, false)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Wait(context.WithoutCancel(ctx)))
		pass.free()
	}()
	return f.produce(ctx, g.boundary(last), f.all(), func(batch int, out op.Tensor) error {
		b := f.batches[batch]
		if err := f.r.Wait(ctx); err != nil { // the last batch's targets are read until then
			return err
		}
		x, err := f.tensor(ctx, last, batch)
		if err != nil {
			return err
		}
		tokens := op.Of(g.words.All(), dtype.F32, 1, x.Rows)
		if err := f.d.Upload(ctx, tokens.View, words(targets(f.windows[b.Begin:b.End]))); err != nil {
			return err
		}
		scored := b.Windows() * (f.window - 1)
		pass.record(f.r, rows(g.loss, 1, x.Rows), out, x, frozen.lens, lensTarget{tokens: tokens}, lens{}, float32(1/float64(scored)))
		return f.r.Err()
	})
}

// layer makes the gradients of a layer, and of the states that enter it.
func (g *gradientPass) layer(ctx context.Context, l int, visit func(layer int, b Batch, w, g []op.Tensor) error) error {
	f, c, layer := g.f, g.m.Config, g.m.Layers[l]
	weights, err := f.cache.layer(ctx, f.r, layer)
	if err != nil {
		return err
	}
	defer f.cache.release(layer)
	grads, bound := make([]op.Tensor, NumParts), slices.Clone(weights)
	places := layout(f.d, layer.Parts[:], partJoins)
	for p, w := range layer.Parts {
		if w.IsZero() {
			continue
		}
		grads[p] = rows(g.grads[p], w.Rows, w.Cols)
		if places[p] == aligned(f.d, places[p]) {
			continue
		}
		if g.own[p] == nil {
			if g.own[p], err = f.d.NewBuffer("weights", w.Size(), vk.OnDevice); err != nil {
				return err
			}
		}
		bound[p] = op.Of(g.own[p].View(0, w.Size()), w.DType, w.Rows, w.Cols)
		f.r.Copy(bound[p].View, weights[p].View)
	}
	err = f.produce(ctx, g.boundary(l), f.all(), func(batch int, dx op.Tensor) error {
		x, err := f.tensor(ctx, l, batch)
		if err != nil {
			return err
		}
		dy, err := f.chunkTensor(ctx, f.states[g.boundary(l+1)][batch], g.dy, batch)
		if err != nil {
			return err
		}
		for _, t := range grads {
			if !t.IsZero() {
				op.Zero(f.r, t)
			}
		}
		var run layerRun
		run.record(f.r, c, l, weights, &g.tape.scratch, rows(g.out, x.Rows, x.Cols), x, f.fixed.rope, f.window)
		f.runs.All += backwardRuns * f.batches[batch].Windows()
		g.tape.backward(f.r, c, l, bound, grads, &g.back, dx, dy, x, f.fixed.rope, f.window)
		return errors.Join(f.r.Err(), visit(l, f.batches[batch], bound, grads))
	})
	if err = errors.Join(err, f.Wait(ctx)); err != nil {
		return err
	}
	f.Drop(g.boundary(l + 1))
	return nil
}

// gradientBytes is the device memory that Gradients takes at most beside the Forward's own, with batches of so many tokens.
func gradientBytes(d *vk.Device, m *Model, tokens int) int64 {
	var g gradientPass
	c, layer := m.Config, m.Layers[0] // they are of one size
	list := append(append(g.tape.list(d, c), g.back.list(d, c)...), g.list(c)...)
	n := aligned(d, widestMatrix(layer)) + 4*int64(tokens)*columns(list)
	for p, at := range layout(d, layer.Parts[:], partJoins) {
		w := layer.Parts[p]
		if n += aligned(d, 4*int64(w.Rows)*int64(w.Cols)); at != aligned(d, at) {
			n += aligned(d, w.Size())
		}
	}
	return n + frozenLensBytes(d, m) + lensBytes(d, m, tokens, false, false) + bufferRounding*int64(len(list)+2*int(NumParts))
}

// bufferRounding is what a buffer takes on the device beside its size, at most.
const bufferRounding = 256

// GradientOptions are those of a Forward for the gradients of each window by itself, where o is what is best for scores.
func GradientOptions(o ForwardOptions) ForwardOptions {
	o.BatchWindows, o.StatesOnHost, o.KeepWeights = 1, true, false
	return o
}

// PredictGradients is the footprint of Gradients of each window by itself, for a number of windows of some tokens, beside a Forward of the
// options o, with StatesOnHost, that rests and keeps the states of one boundary, and beside extra bytes of host memory.
func PredictGradients(d *vk.Device, m *Model, windows, window int, extra int64, o ForwardOptions) (p Footprint, err error) {
	if p, err = Predict(d, m, windows, window, GradientBoundaries(m), extra+runBytes, o); err != nil {
		return p, err
	}
	plan := func(o ForwardOptions) (f *Forward, rest int64, err error) {
		f = &Forward{d: d, config: m.Config, windows: make([][]uint32, windows), window: window}
		err = f.plan(m, o)
		staging, lists := 2*int64(f.batch)*f.stateBytes(), int64(8*f.batch+4*maxCalls)
		return f, fixedBytes(m, window) + staging + lists + 16*bufferRounding, err
	}
	_, beside, err := plan(o)
	if err != nil {
		return p, err
	}
	f, rest, err := plan(GradientOptions(o))
	if err != nil {
		return p, err
	}
	p.Device = max(p.Device, beside+max(f.taken, rest+f.cache.budget+gradientBytes(d, m, window)))
	return p, nil
}

// GradientBoundaries is how many boundaries' states are kept together: those of the model, the gradients of two of them, and those that
// enter the model once more, in the Forward beside.
func GradientBoundaries(m *Model) int { return len(m.Layers) + 4 }
