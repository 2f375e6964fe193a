package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// prefillTokens is how much of a prompt goes through the layers at once.
const prefillTokens = 512

// Generator continues one sequence token by token, with the keys and values of earlier positions cached on the device. It keeps the
// weights there too while they fit, and streams them layer by layer otherwise. A Generator belongs to one goroutine.
type Generator struct {
	d        *vk.Device
	r        *vk.Recorder
	m        *Model
	capacity int
	used     int
	tokens   []uint32 // the sequence
	streams  bool     // not all weights fit
	held     []*Layer // in use by what was recorded
	scratch  scratch
	fixed    fixed
	cache    *weightCache
	kv       []kvCache
	x, y     *vk.Buffer // hidden states before and after a layer
	last     *vk.Buffer // of the last token, and normed
	logits   *vk.Buffer
	bufs     []*vk.Buffer // of kv and scratch.partial
}

// NewGenerator prepares to run sequences of at most capacity tokens, prompt included; 0 means all that the model was trained for.
func NewGenerator(d *vk.Device, m *Model, capacity int) (*Generator, error) {
	if capacity == 0 {
		capacity = m.Config.MaxPositionEmbeddings
	}
	if capacity < 1 || capacity > m.Config.MaxPositionEmbeddings {
		return nil, fmt.Errorf("model: %d tokens, %s has max_position_embeddings %d", capacity, m.Name, m.Config.MaxPositionEmbeddings)
	}
	if m.Config.HeadDim > op.MaxHeadDim {
		return nil, fmt.Errorf("model: %s: head_dim %d, supported are up to %d", m.Name, m.Config.HeadDim, op.MaxHeadDim)
	}
	g := &Generator{d: d, m: m, capacity: capacity}
	if err := g.allocate(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Generator) allocate() (err error) {
	c := g.m.Config
	if g.r, err = g.d.NewRecorder(); err != nil {
		return err
	}
	batch := min(g.capacity, prefillTokens)
	if g.scratch, err = newScratch(g.d, c, batch); err != nil {
		return err
	}
	if g.fixed, err = newFixed(g.r, g.m, g.capacity); err != nil {
		return err
	}
	if n := attentionScratch(g.d, c, g.capacity); n > 0 {
		b, err := g.d.NewBuffer("partial attention", 4*int64(n), vk.OnDevice)
		if err != nil {
			return err
		}
		g.bufs = append(g.bufs, b)
		g.scratch.partial = rows(b, 1, n)
	}
	hidden := 4 * int64(c.HiddenSize)
	for _, b := range []struct {
		buf  **vk.Buffer
		size int64
	}{
		{&g.x, int64(batch) * hidden}, {&g.y, int64(batch) * hidden}, {&g.last, hidden}, {&g.logits, 4 * int64(c.VocabSize)},
	} {
		if *b.buf, err = g.d.NewBuffer("generator", b.size, vk.OnDevice); err != nil {
			return err
		}
	}
	for range g.m.Layers {
		var pair [2]op.Tensor
		for i := range pair {
			b, err := g.d.NewBuffer("KV cache", 4*int64(g.capacity)*int64(c.KVHeads*c.HeadDim), vk.OnDevice)
			if err != nil {
				return err
			}
			g.bufs = append(g.bufs, b)
			pair[i] = rows(b, g.capacity, c.KVHeads*c.HeadDim)
		}
		g.kv = append(g.kv, kvCache{k: pair[0], v: pair[1], capacity: g.capacity})
	}
	left := (g.d.MemoryLimit() - g.d.Memory().Reserved) / 8 * 7
	all := aligned(g.d, g.m.Head.Size())
	for _, l := range g.m.Layers {
		all += residentBytes(g.d, l.Parts[:])
	}
	g.streams = all > left
	g.cache = newWeightCache(g.d, left)
	return nil
}

// attentionScratch is how many floats attention over so many keys needs.
func attentionScratch(d *vk.Device, c *Config, keys int) int {
	most := 0
	for l := range c.Layers {
		for queries := 1; queries <= min(op.AttentionDecode, keys); queries++ {
			most = max(most, op.AttentionScratch(d, op.AttentionShape{Windows: 1, QueryLen: queries, KeyLen: keys, Heads: c.Heads, KVHeads: c.KVHeads,
				HeadDim: c.HeadDim, SlidingWindow: c.Window(l)}))
		}
	}
	return most
}

// Close frees all that the Generator holds on the device.
func (g *Generator) Close() error {
	var err error
	if g.r != nil {
		err = g.r.Close()
	}
	if g.cache != nil {
		g.cache.close()
	}
	g.scratch.free(g.d)
	g.fixed.free(g.d)
	g.d.Free(append(g.bufs, g.x, g.y, g.last, g.logits)...)
	return err
}

// Len is the number of tokens fed so far.
func (g *Generator) Len() int { return g.used }

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
	for piece := range slices.Chunk(tokens, prefillTokens) {
		if err := g.feed(ctx, piece); err != nil {
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

// explain finds out which layer and operation made the first value that is not finite, by running the sequence as a corpus does, and
// adds it to err. Where that finds nothing, or has no room beside the generator, err says all that is known.
func (g *Generator) explain(ctx context.Context, err error) error {
	g.cache.trim(anything)
	f, failed := NewForward(g.d, g.m, [][]uint32{g.tokens})
	if failed != nil {
		return err
	}
	failed = f.Run(ctx, g.m, nil)
	f.Close()
	var found *NonFiniteError
	if errors.As(failed, &found) {
		return fmt.Errorf("%w: %w", err, found)
	}
	return err
}

// settle waits for what was recorded and gives the layers back that it used.
func (g *Generator) settle(ctx context.Context) error {
	err := g.r.Wait(ctx)
	for _, l := range g.held {
		g.cache.release(l)
	}
	g.held = g.held[:0]
	return err
}

// embed puts the embeddings of tokens into x, once what was recorded before is done with it. The host decodes them: a dispatch for one
// row costs more.
func (g *Generator) embed(ctx context.Context, tokens []uint32, x op.Tensor) error {
	if err := g.settle(ctx); err != nil {
		return err
	}
	table := g.m.Embed
	rowBytes := len(table.Data) / table.Rows
	row, raw := make([]float32, table.Cols), make([]byte, x.Size())
	for i, t := range tokens {
		table.DType.Decode(row, table.Data[int(t)*rowBytes:(int(t)+1)*rowBytes])
		dtype.F32.Encode(raw[i*4*len(row):(i+1)*4*len(row)], row)
	}
	if err := g.d.Upload(ctx, x.View, raw); err != nil {
		return err
	}
	if !g.fixed.positions.IsZero() {
		op.AddPositions(g.r, x, g.fixed.positions, len(tokens), g.used)
	}
	return g.r.Err()
}

// feed records a piece of the sequence through all layers.
func (g *Generator) feed(ctx context.Context, tokens []uint32) error {
	c, n := g.m.Config, len(tokens)
	x, y := rows(g.x, n, c.HiddenSize), rows(g.y, n, c.HiddenSize)
	if err := g.embed(ctx, tokens, x); err != nil {
		return err
	}
	for i, l := range g.m.Layers {
		weights, err := g.cache.layer(ctx, g.r, l)
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		g.held = append(g.held, l)
		if i+1 < len(g.m.Layers) {
			g.cache.prefetch(ctx, g.m.Layers[i+1], g.m.Layers[i+1].Parts[:])
		}
		g.kv[i].used = g.used
		layerRun{cache: &g.kv[i]}.record(g.r, c, i, weights, &g.scratch, y, x, g.fixed.rope, n)
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
	last := rows(g.x, row+1, c.HiddenSize).RowRange(row, row+1)
	if int64(row)*last.RowBytes()%g.d.Limits().OffsetAlignment != 0 { // it cannot be bound where it is
		g.r.Copy(g.last.All(), last.View)
		last = rows(g.last, 1, c.HiddenSize)
	}
	norm := rows(g.scratch.norm, 1, c.HiddenSize)
	head := op.Fused{Norm: g.fixed.norm, Eps: float32(c.RMSNormEps), Scratch: norm}
	if c.LayerNorm {
		c.recordNorm(g.r, norm, last, g.fixed.norm, g.fixed.normBias)
		last, head = norm, op.Fused{}
	}
	out := make([]float32, c.VocabSize)
	err := headTiles(ctx, g.cache, g.r, g.m, func(first int, w op.Tensor) error {
		op.LinearFused(g.r, op.Of(g.logits.View(4*int64(first), 4*int64(w.Rows)), dtype.F32, 1, w.Rows), last, w, head)
		return g.r.Err()
	})
	if err != nil {
		return nil, err
	}
	if err := download(ctx, g.d, out, rows(g.logits, 1, c.VocabSize)); err != nil {
		return nil, err
	}
	return out, nil
}

// Sampling says how the next token is chosen. The zero value is greedy.
type Sampling struct {
	Temperature float64 // 0 takes the most likely token
	TopK        int     // keep the k most likely; 0 keeps all
	TopP        float64 // keep the fewest whose probability reaches p; 0 or 1 keeps all
}

// Next chooses a token from logits. The same logits and state of rng give the same token.
func (s Sampling) Next(logits []float32, rng *rand.Rand) uint32 {
	type candidate struct {
		token uint32
		p     float64
	}
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	if s.Temperature <= 0 {
		return uint32(best)
	}
	all := make([]candidate, len(logits))
	for i, v := range logits {
		all[i] = candidate{uint32(i), math.Exp(float64(v-logits[best]) / s.Temperature)}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.p, a.p) })
	if s.TopK > 0 {
		all = all[:min(s.TopK, len(all))]
	}
	total := 0.0
	for _, c := range all {
		total += c.p
	}
	if s.TopP > 0 && s.TopP < 1 {
		sum := 0.0
		for i, c := range all {
			if sum += c.p; sum >= s.TopP*total {
				all, total = all[:i+1], sum
				break
			}
		}
	}
	at := rng.Float64() * total
	for _, c := range all {
		if at -= c.p; at < 0 {
			return c.token
		}
	}
	return all[len(all)-1].token
}
