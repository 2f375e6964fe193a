// Package generate continues a text token by token.
package generate

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

// prefillTokens is how much of a prompt goes through the layers at once.
const prefillTokens = 512

// Generator continues one sequence token by token, with the keys and values of earlier positions cached on the device. It keeps the
// weights there too while they fit, and streams them layer by layer otherwise. A Generator belongs to one goroutine.
type Generator struct {
	d        *vk.Device
	r        *vk.Recorder
	m        *model.Model
	capacity int
	used     int
	tokens   []uint32       // the sequence
	streams  bool           // not all weights fit
	held     []*model.Layer // in use by what was recorded
	scope    *vk.Scope
	scratch  *graph.Scratch
	shared   graph.Shared
	cache    *graph.Cache
	kv       []graph.KV
	x, y     *vk.Buffer // hidden states before and after a layer
	last     *vk.Buffer // of the last token, and normed
	logits   *vk.Buffer
}

// New prepares to run sequences of at most capacity tokens, prompt included; 0 means all that the model was trained for.
func New(d *vk.Device, m *model.Model, capacity int) (*Generator, error) {
	if capacity == 0 {
		capacity = m.Config.MaxPositionEmbeddings
	}
	if capacity < 1 || capacity > m.Config.MaxPositionEmbeddings {
		return nil, fmt.Errorf("model: %d tokens, %s has max_position_embeddings %d", capacity, m.Name, m.Config.MaxPositionEmbeddings)
	}
	if m.Config.HeadDim > op.MaxHeadDim {
		return nil, fmt.Errorf("model: %s: head_dim %d, supported are up to %d", m.Name, m.Config.HeadDim, op.MaxHeadDim)
	}
	g := &Generator{d: d, m: m, capacity: capacity, scope: d.NewScope()}
	if err := g.allocate(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Generator) allocate() (err error) {
	c, s := g.m.Config, g.scope
	if g.r, err = g.d.NewRecorder(); err != nil {
		return err
	}
	batch := min(g.capacity, prefillTokens)
	g.scratch = graph.NewScratch(s, c, batch)
	g.shared = graph.NewShared(context.Background(), s, g.r, g.m, g.capacity, g.lengths()...)
	if n := graph.AttentionScratch(g.d, c, batch, g.capacity); n > 0 {
		g.scratch.Partial = graph.Floats(s.Buffer("partial attention", 4*int64(n), vk.OnDevice), 1, n)
	}
	hidden := 4 * int64(c.HiddenSize)
	g.x, g.y = s.Buffer("generator", int64(batch)*hidden, vk.OnDevice), s.Buffer("generator", int64(batch)*hidden, vk.OnDevice)
	g.last, g.logits = s.Buffer("generator", hidden, vk.OnDevice), s.Buffer("generator", 4*int64(c.VocabSize), vk.OnDevice)
	for range g.m.Layers {
		rows := func() op.Tensor {
			cols := c.KVHeads * c.HeadDim
			return graph.Floats(s.Buffer("KV cache", 4*int64(g.capacity)*int64(cols), vk.OnDevice), g.capacity, cols)
		}
		g.kv = append(g.kv, graph.KV{K: rows(), V: rows(), Capacity: g.capacity})
	}
	if err := s.Err(); err != nil {
		return err
	}
	left := (g.d.MemoryLimit() - g.d.Memory().Reserved) / 8 * 7
	all := graph.Aligned(g.d, g.m.Top[arch.Head].Size())
	for _, l := range g.m.Layers {
		all += graph.LayerBytes(g.d, l)
	}
	g.streams = all > left
	g.cache = graph.NewCache(g.d, left)
	return nil
}

// lengths are those of sequences whose positions are turned alike: see arch.Config.RopeSwitch.
func (g *Generator) lengths() []int {
	if n := g.m.Config.RopeSwitch(); n > 0 && n < g.capacity {
		return []int{n, g.capacity}
	}
	return []int{g.capacity}
}

// Close frees all that the Generator holds on the device.
func (g *Generator) Close() error {
	var err error
	if g.r != nil {
		err = g.r.Close()
	}
	if g.cache != nil {
		g.cache.Close()
	}
	g.scope.Free()
	return err
}

// Dispatched counts the dispatches that were recorded so far.
func (g *Generator) Dispatched() int { return g.r.Dispatched }

// Reset forgets the sequence.
func (g *Generator) Reset() { g.used, g.tokens = 0, nil }

// Feed appends tokens to the sequence and returns the logits [vocab_size] that follow the last of them.
func (g *Generator) Feed(ctx context.Context, tokens []uint32) ([]float32, error) {
	if len(tokens) == 0 || len(tokens) > g.capacity-g.used {
		return nil, fmt.Errorf("model: %d tokens after %d, the generator holds %d", len(tokens), g.used, g.capacity)
	}
	for _, t := range tokens {
		if int(t) >= g.m.Config.VocabSize {
			return nil, fmt.Errorf("model: token %d, the vocabulary of %s has %d", t, g.m.Name, g.m.Config.VocabSize)
		}
	}
	length := g.used + len(tokens)
	if n := g.m.Config.RopeSwitch(); n > 0 && g.m.Config.RopeScaling.Restarts && g.used > 0 && g.used <= n && length > n { // all positions are turned otherwise from here on
		tokens = slices.Concat(g.tokens, tokens)
		g.Reset()
	}
	for piece := range slices.Chunk(tokens, prefillTokens) {
		if err := g.feed(ctx, piece, length); err != nil {
			return nil, errors.Join(fmt.Errorf("model: %s: %w", g.m.Name, err), g.settle(ctx))
		}
		g.used += len(piece)
		g.tokens = append(g.tokens, piece...)
	}
	logits, err := g.head(ctx, (len(tokens)-1)%prefillTokens)
	if err := errors.Join(err, g.settle(ctx)); err != nil {
		return nil, err
	}
	for i, v := range logits {
		if v-v != 0 {
			return nil, g.explain(ctx, fmt.Errorf("model: %s: the logit of token %d is %v after %d tokens", g.m.Name, i, v, g.used))
		}
	}
	return logits, nil
}

// Follow makes tokens the sequence and returns the logits that follow the last of them. What the sequence so far begins with alike is not computed
// again.
func (g *Generator) Follow(ctx context.Context, tokens []uint32) ([]float32, error) {
	same := 0
	for same < min(len(tokens)-1, len(g.tokens)) && tokens[same] == g.tokens[same] {
		same++
	}
	if n := g.m.Config.RopeSwitch(); n > 0 && g.used > n && len(tokens) <= n { // the cached keys are turned as those of a longer text
		same = 0
	}
	g.used, g.tokens = same, g.tokens[:same]
	return g.Feed(ctx, tokens[min(same, len(tokens)):])
}

// explain finds out which layer and operation made the first value that is not finite, by running the sequence as a corpus does, and
// adds it to err. Where that finds nothing, or has no room beside the generator, err says all that is known.
func (g *Generator) explain(ctx context.Context, err error) error {
	g.cache.Trim(graph.Anything)
	f, failed := run.New(g.d, g.m, [][]uint32{g.tokens})
	if failed != nil {
		return err
	}
	failed = f.Run(ctx, g.m, nil)
	f.Close()
	var found *run.NonFiniteError
	if errors.As(failed, &found) {
		return fmt.Errorf("%w: %w", err, found)
	}
	return err
}

// settle waits for what was recorded and gives the layers back that it used.
func (g *Generator) settle(ctx context.Context) error {
	err := g.r.Wait(ctx)
	for _, l := range g.held {
		g.cache.Release(l)
	}
	g.held = g.held[:0]
	return err
}

// feed records a piece of a sequence of so many tokens through all layers.
func (g *Generator) feed(ctx context.Context, tokens []uint32, length int) error {
	c, n := g.m.Config, len(tokens)
	x, y := graph.Floats(g.x, n, c.HiddenSize), graph.Floats(g.y, n, c.HiddenSize)
	if err := g.settle(ctx); err != nil {
		return err
	}
	if err := graph.Embed(ctx, g.r, c, g.m.Top[arch.Embed], tokens, x); err != nil {
		return err
	}
	graph.AddPositions(g.r, x, g.shared.Positions, graph.Rows{Window: n}, g.used)
	of := 0 // the length whose rotary positions count
	if lengths := g.lengths(); length > lengths[0] {
		of = 1
	}
	for i, l := range g.m.Layers {
		weights, err := g.cache.Layer(ctx, g.r, l)
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		g.held = append(g.held, l)
		if i+1 < len(g.m.Layers) {
			g.cache.Prefetch(ctx, g.m.Layers[i+1], g.m.Layers[i+1].Weights[:])
		}
		g.kv[i].Used = g.used
		block := graph.Block{Config: c, Layer: i, Weights: weights, Rope: g.shared.RopeOf(c, i, of), Scratch: g.scratch}
		block.Forward(g.r, y, x, graph.Rows{Window: n, Cache: &g.kv[i]})
		g.x, g.y, x, y = g.y, g.x, y, x
		if g.streams {
			if err := g.settle(ctx); err != nil {
				return fmt.Errorf("layer %d: %w", i, err)
			}
		}
	}
	return g.r.Err()
}

// head computes the logits of one row of the last states.
func (g *Generator) head(ctx context.Context, row int) ([]float32, error) {
	c := g.m.Config
	last := graph.Floats(g.x, row+1, c.HiddenSize).RowRange(row, row+1)
	if int64(row)*last.RowBytes()%g.d.Limits().OffsetAlignment != 0 { // it cannot be bound where it is
		g.r.Copy(g.last.All(), last.View)
		last = graph.Floats(g.last, 1, c.HiddenSize)
	}
	norm := g.scratch.Norm(1, c.HiddenSize)
	head := op.Fused{Norm: g.shared.Norm, Eps: float32(c.RMSNormEps), PlusOne: c.NormPlusOne, Scratch: norm}
	if c.LayerNorm {
		g.shared.RecordFinalNorm(g.r, c, norm, last)
		last, head = norm, op.Fused{}
	}
	out := make([]float32, c.VocabSize)
	err := graph.HeadTiles(ctx, g.cache, g.r, g.m, func(first int, w op.Tensor) error {
		y := op.Of(g.logits.View(4*int64(first), 4*int64(w.Rows)), dtype.F32, 1, w.Rows)
		op.LinearFused(g.r, y, last, w, head)
		graph.LogitsOf(c).Record(g.r, y)
		return g.r.Err()
	})
	if err != nil {
		return nil, err
	}
	return out, graph.Read(ctx, g.d, out, graph.Floats(g.logits, 1, c.VocabSize))
}
