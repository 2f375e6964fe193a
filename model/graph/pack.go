package graph

import (
	"context"
	"fmt"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Batch is rows that go through the layers together, as the host knows them: windows of one length, one behind the other, or a pack, whose
// segments may share what they begin with. Windows are what a pack of one segment each would be, without its lists.
type Batch struct {
	Tokens    []uint32
	Window    int          // 0: a pack
	Positions []uint32     // of a pack's rows: in the rotary or learned positions of Shared
	Segments  []op.Segment // of a pack
}

// Rows is the number of rows.
func (b *Batch) Rows() int { return len(b.Tokens) }

// Pack is a batch's segments on the device.
type Pack struct {
	positions op.Tensor // [1, rows]
	table     op.Tensor // of op.AttentionPacked
	packing   *op.Packing
	gathered  *vk.Buffer
}

// Gather is the rows of a table of positions for each row, good until it is called again.
func (p *Pack) Gather(r *vk.Recorder, table op.Tensor) op.Tensor {
	n := p.positions.Cols
	rows := op.Of(p.gathered.View(0, int64(n)*table.RowBytes()), table.DType, n, table.Cols)
	op.GatherRows(r, rows, 0, table, p.positions)
	return rows
}

// TableWords is how many words of a pack's table there is room for, for each row.
const TableWords = 128

// Loader puts packs on the device, one at a time.
type Loader struct {
	config    *arch.Config
	positions *vk.Buffer
	table     *vk.Buffer
	gathered  *vk.Buffer // what layers read of a table of positions, by row
	pack      Pack
	of        *Batch // that is loaded
}

// NewLoader allocates for packs of up to so many rows.
func NewLoader(s *vk.Scope, c *arch.Config, rows int) *Loader {
	position := c.Rotated(c.HeadDim) // cosines and sines, or an embedding
	if c.LearnedPositions {
		position = c.HiddenSize
	}
	t := table{s, rows}
	return &Loader{config: c, positions: t.floats("positions of a pack", 1), table: t.floats("paths of a pack", TableWords), gathered: t.floats("gathered positions", position)}
}

// Forget says that batches may have changed.
func (l *Loader) Forget() { l.of = nil }

// Load gives the rows of a batch. Those of a pack are put on the device, once what was recorded is done with the pack that is there; they
// are good until another is loaded. A Loader that is nil loads windows alone.
func (l *Loader) Load(ctx context.Context, r *vk.Recorder, b *Batch) (Rows, error) {
	if b.Window > 0 {
		return Rows{Window: b.Window}, nil
	}
	rows := Rows{Window: b.Rows(), Pack: &l.pack}
	if l.of == b {
		return rows, nil
	}
	packing, err := op.NewPacking(r.Device(), b.Segments, packedShape(l.config, 0))
	if err != nil {
		return rows, err
	}
	if err := r.Wait(ctx); err != nil {
		return rows, err
	}
	if n := 4 * int64(len(packing.Words)); n > l.table.Size() {
		return rows, fmt.Errorf("packed sequences: a table of %s, there is room for %s", vk.Bytes(n), vk.Bytes(l.table.Size()))
	}
	l.of = nil
	p := Pack{packing: packing, gathered: l.gathered}
	if p.positions, err = PutWords(ctx, r.Device(), l.positions, b.Positions); err != nil {
		return rows, err
	}
	if p.table, err = PutWords(ctx, r.Device(), l.table, packing.Words); err != nil {
		return rows, err
	}
	l.pack, l.of = p, b
	return rows, nil
}

func packedShape(c *arch.Config, layer int) op.PackedShape {
	return op.PackedShape{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, SlidingWindow: c.Window(layer),
		LogitOptions: op.LogitOptions{Scale: c.AttentionScale, Cap: c.AttentionCap}}
}
