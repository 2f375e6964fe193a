package model

import (
	"context"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// pack is a batch of sequences that share what they begin with: the nodes of a trie of tokens, each a row. What several sequences begin
// with goes through the layers once, and no row is padding.
type pack struct {
	tokens    []uint32
	positions []uint32
	segments  []op.Segment
	scored    [][]uint32 // by sequence: the rows after which its scored tokens come
}

// newPack packs sequences; their last tokens are not among the rows, as nothing follows them.
func newPack(sequences []Sequence) *pack {
	p := &pack{scored: make([][]uint32, len(sequences))}
	list := make([]int, len(sequences))
	for i := range list {
		list[i] = i
	}
	slices.SortStableFunc(list, func(a, b int) int { return slices.Compare(sequences[a].input(), sequences[b].input()) })
	p.grow(sequences, list, nil)
	return p
}

// grow adds what sequences, sorted, that share the tokens of a path have besides.
func (p *pack) grow(sequences []Sequence, list []int, path []uint32) {
	first, last := sequences[list[0]].input(), sequences[list[len(list)-1]].input()
	depth := len(path)
	end := depth + common(first[depth:], last[depth:]) // what the first and the last have in common, all have
	if end > depth {
		row := len(p.tokens)
		path = slices.Clone(path)
		for i := depth; i < end; i++ {
			path = append(path, uint32(len(p.tokens)))
			p.tokens, p.positions = append(p.tokens, first[i]), append(p.positions, uint32(i))
		}
		p.segments = append(p.segments, op.Segment{Row: row, Rows: end - depth, Path: path})
	}
	for len(list) > 0 && len(sequences[list[0]].input()) == end {
		p.scored[list[0]] = path[end-sequences[list[0]].Scored:]
		list = list[1:]
	}
	for len(list) > 0 {
		n := 1
		for n < len(list) && sequences[list[n]].Tokens[end] == sequences[list[0]].Tokens[end] {
			n++
		}
		p.grow(sequences, list[:n], path)
		list = list[n:]
	}
}

// common is how many tokens two sequences begin with that are the same.
func common(a, b []uint32) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// packed is what a Forward has besides where its batches are packs.
type packed struct {
	packs    []*pack // by batch
	config   *Config
	lists    [2]*vk.Buffer // positions and table of the pack that is loaded
	gathered *vk.Buffer    // what layers read of a table of positions, by row
	loaded   devicePack
	of       *pack // that is loaded
}

// tableWords is how many words of a pack's table there is room for, for each row.
const tableWords = 128

// devicePack is a pack on the device.
type devicePack struct {
	positions op.Tensor // [1, rows]
	table     op.Tensor // of op.AttentionPacked
	packing   *op.Packing
	gathered  *vk.Buffer
}

// packedRowBytes is the device memory that a row of a pack takes beside its activations.
func (c *Config) packedRowBytes() int64 {
	return 4*(1+tableWords) + c.positionBytes()
}

// positionBytes is the size of what a position adds to a row: cosines and sines, or an embedding.
func (c *Config) positionBytes() int64 {
	if c.LearnedPositions {
		return 4 * int64(c.HiddenSize)
	}
	return 4 * int64(c.HeadDim)
}

func (c *Config) packedShape(layer int) op.PackedShape {
	return op.PackedShape{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, SlidingWindow: c.Window(layer)}
}

// newPacked allocates for packs of at most so many rows.
func newPacked(d *vk.Device, c *Config, rows int) (p *packed, err error) {
	p = &packed{config: c}
	for _, b := range []struct {
		to    **vk.Buffer
		bytes int64
	}{{&p.lists[0], 4 * int64(rows)}, {&p.lists[1], 4 * tableWords * int64(rows)}, {&p.gathered, c.positionBytes() * int64(rows)}} {
		if *b.to, err = d.NewBuffer("packed sequences", b.bytes, vk.OnDevice); err != nil {
			p.free(d)
			return nil, err
		}
	}
	return p, nil
}

func (p *packed) free(d *vk.Device) {
	if p != nil {
		d.Free(p.lists[0], p.lists[1], p.gathered)
	}
}

// gather is the rows of a table of positions for each token, good until it is called again.
func (p *devicePack) gather(r *vk.Recorder, table op.Tensor) op.Tensor {
	n := p.positions.Cols
	size := int64(n) * table.RowBytes()
	rows := op.Of(p.gathered.View(0, size), table.DType, n, table.Cols)
	op.GatherRows(r, rows, 0, table, p.positions)
	return rows
}

// loadPack puts a batch's lists on the device, once what was recorded is done with those that are there; nil where batches are windows.
func (f *Forward) loadPack(ctx context.Context, batch int) (*devicePack, error) {
	k := f.packed
	if k == nil {
		return nil, nil
	}
	p := k.packs[batch]
	if k.of == p {
		return &k.loaded, nil
	}
	packing, err := op.NewPacking(f.d, p.segments, k.config.packedShape(0))
	if err != nil {
		return nil, err
	}
	if err := f.r.Wait(ctx); err != nil {
		return nil, err
	}
	n := 4 * int64(len(packing.Words))
	if n > k.lists[1].Size() {
		return nil, fmt.Errorf("packed sequences: a table of %s, there is room for %s", vk.Bytes(n), vk.Bytes(k.lists[1].Size()))
	}
	k.of = nil
	positions, table := k.lists[0].View(0, 4*int64(len(p.positions))), k.lists[1].View(0, n)
	if err := f.d.Upload(ctx, positions, words(p.positions)); err != nil {
		return nil, err
	}
	if err := f.d.Upload(ctx, table, words(packing.Words)); err != nil {
		return nil, err
	}
	k.loaded = devicePack{op.Of(positions, dtype.F32, 1, len(p.positions)), op.Of(table, dtype.F32, 1, len(packing.Words)), packing, k.gathered}
	k.of = p
	return &k.loaded, nil
}

// embedPack fills out with the embeddings of a pack's tokens.
func (f *Forward) embedPack(ctx context.Context, m *Model, batch int, out op.Tensor) error {
	if err := embed(ctx, f.r, m.Embed, f.packed.packs[batch].tokens, out); err != nil {
		return err
	}
	if f.fixed.positions.IsZero() {
		return nil
	}
	p, err := f.loadPack(ctx, batch)
	if err != nil {
		return err
	}
	op.AddPositions(f.r, out, p.gather(f.r, f.fixed.positions), out.Rows, 0)
	return f.r.Err()
}

// packTokens is how many rows a pack has where memory and its sequences allow.
func packTokens(d *vk.Device) int {
	if d.Info.Kind == vk.CPU {
		return 2048
	}
	return 8192
}

// newPackedForward prepares to run packs of sequences of at most so many tokens through m. The device's memory limit is divided as
// NewForward does, but that all weights stay where they fit, the LM head too.
func newPackedForward(d *vk.Device, m *Model, longest int, host *HostMemory) (*Forward, error) {
	c := m.Config
	if c.HeadDim > op.MaxHeadDim {
		return nil, fmt.Errorf("model: %s: head_dim %d, supported are up to %d", m.Name, c.HeadDim, op.MaxHeadDim)
	}
	f := &Forward{d: d, config: c, batch: 1}
	limit, used := d.MemoryLimit(), d.Memory().Reserved
	available := (limit - used) / 8 * 7                                        // as in plan
	available -= available/16 + max(64*4*headUnit, limit/64)                   // scores of tokens; logits, see logitRows
	perRow := c.scratchBytes(d) + 2*4*int64(c.HiddenSize) + c.packedRowBytes() // activations, states on their way
	perRow += int64(c.HiddenSize)*int64(m.Embed.DType.Size()) + 4              // see embed
	fixed := fixedBytes(m, longest)
	var layer, all int64
	for _, l := range m.Layers {
		size := residentBytes(d, l.Parts[:])
		layer, all = max(layer, size), all+size
	}
	all += aligned(d, m.Head.Size())
	least := (longest + 63) / 64 * 64 // the rows of lists begin where they can be bound
	if need := fixed + int64(least)*perRow + layer; need > available {
		return nil, fmt.Errorf("model: %s of device memory cannot hold a sequence of %d tokens (%s), one layer (%s) and logits: %w; use a vk.Options.MaxMemory of %s, or shorter texts",
			vk.Bytes(limit), longest, vk.Bytes(fixed+int64(least)*perRow), vk.Bytes(layer), vk.ErrOutOfMemory, vk.Bytes(used+(need+(limit-used)/8*7-available)/7*8+(1<<20)))
	}
	// No tensor of a pack may outgrow a binding.
	widest := 4 * int64(max(c.HiddenSize, c.qkvCols(), c.IntermediateSize, tableWords))
	f.window = max(least, min(packTokens(d), int(d.Limits().StorageRange/widest))/64*64)
	left := func() int64 { return available - fixed - int64(f.window)*perRow }
	for f.window > least && (int64(f.window)*perRow > available/2 || left() < 2*layer) {
		f.window = max(least, f.window*3/4/64*64)
	}
	states := 2 * int64(f.window) * 4 * int64(c.HiddenSize) // before and after a layer
	weights := all
	if f.keep = all+states <= left(); !f.keep {
		if weights = 2 * layer; weights > left() {
			weights = layer
		}
	}
	f.room = left() - weights
	f.taken = fixed + int64(f.window)*perRow + weights
	f.cache = newWeightCache(d, weights)
	if err := f.begin(m, host, longest); err != nil {
		return nil, err
	}
	var err error
	if f.packed, err = newPacked(d, c, f.window); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// setPacks gives the batches that the next passes run.
func (f *Forward) setPacks(packs []*pack) {
	for l := range f.states {
		f.Drop(l)
	}
	f.states = nil
	f.packed.packs, f.packed.of, f.batches = packs, nil, nil
	for i := range packs {
		f.batches = append(f.batches, Batch{i, i + 1})
	}
}

// tokenScore is what the LM head says of a target.
type tokenScore struct{ max, sum, target float32 } // the largest logit, Σ exp(logit − largest), the target's

// packScores takes the last states of all packs through the LM head; the scores are those of targets, by pack.
func (f *Forward) packScores(ctx context.Context, m *Model, targets [][]uint32) ([][]tokenScore, error) {
	last := f.states[len(m.Layers)]
	batches := make([]headRows, len(f.packed.packs))
	for i, p := range f.packed.packs {
		batches[i] = headRows{last[i], i, slices.Concat(p.scored...), targets[i]}
	}
	scores := make([][]tokenScore, len(batches))
	err := f.foldHead(ctx, m, batches, func(i int, s scored) error {
		state := make([]float32, s.state.Elements())
		if err := download(ctx, f.d, state, s.state); err != nil {
			return err
		}
		for v := range slices.Chunk(state, 3) {
			scores[i] = append(scores[i], tokenScore{v[0], v[1], v[2]})
		}
		return nil
	})
	return scores, err
}
