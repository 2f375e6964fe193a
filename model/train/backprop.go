// Package train makes layers and models better: gradients of a corpus' loss, and steps of AdamW on a layer against states, or on a whole
// model against logits.
package train

import (
	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// backprop records layers forward with tapes, and backward after that. Training of a layer, training of a model and gradients of a corpus
// differ in which layers, and where their weights and gradients are.
type backprop struct {
	r      *vk.Recorder
	config *arch.Config
	shared graph.Shared
	window int // tokens of a sequence
	tapes  []*graph.Scratch
	back   *graph.Back
}

// newBackprop allocates for batches of up to so many rows, whose layers go backward after so many went forward, with updates of some rank,
// 0 where the weights themselves have gradients.
func newBackprop(s *vk.Scope, r *vk.Recorder, m *model.Model, layers []*model.Layer, shared graph.Shared, window, rows, tapes, rank int) backprop {
	var widest int64
	for _, l := range layers {
		for _, w := range l.Weights {
			widest = max(widest, w.Size())
		}
	}
	b := backprop{r: r, config: m.Config, shared: shared, window: window}
	for range tapes {
		b.tapes = append(b.tapes, graph.NewTape(s, m.Config, rows))
	}
	b.back = graph.NewBack(s, m.Config, rows, widest, rank)
	return b
}

func (b *backprop) block(l, tape int, weights []op.Tensor) graph.Block {
	return graph.Block{Config: b.config, Layer: l, Weights: weights, Rope: b.shared.Rope(b.config, l), Scratch: b.tapes[tape]}
}

// forward records out = layer l of x, on a tape.
func (b *backprop) forward(l, tape int, weights []op.Tensor, out, x op.Tensor) {
	b.block(l, tape, weights).Forward(b.r, out, x, graph.Rows{Window: b.window})
}

// backward records the gradients of what forward recorded on the tape, whose weights lie where they can be bound.
func (b *backprop) backward(l, tape int, weights []op.Tensor, x op.Tensor, g graph.Gradients) {
	b.block(l, tape, weights).Backward(b.r, x, b.window, g, b.back)
}
