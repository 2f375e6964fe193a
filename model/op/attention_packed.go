package op

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/vk"
)

// Segment is a run of tokens of a packed batch: they follow one another, after a path of earlier segments, and other segments may follow
// them, each on a branch of its own. A question is a segment, and each of its choices one that follows it.
type Segment struct {
	Row  int      // of q and o, where the segment's first token is
	Rows int      // its tokens
	Path []uint32 // the rows of k and v at positions 0, 1, … up to the segment's last token, its own being the last Rows of them
}

// PackedShape is how AttentionPacked reads its tensors.
type PackedShape struct {
	Heads, KVHeads int // query head h reads key/value head h/(Heads/KVHeads)
	HeadDim        int // even, at most 256
	SlidingWindow  int // positions that a query sees, its own included; 0 is all
	LogitOptions
}

// Packing is what AttentionPacked wants to know of a batch's segments on one device, for layers whose heads are the same.
type Packing struct {
	Words  []uint32 // for its map
	items  int      // workgroups for each KV head
	longer int      // the longest path
	mean   int      // tokens of a segment
	seen   float64  // keys that all queries see
}

const packedItem = 5 // words: see common/attention.glsl

// NewPacking lays segments out for AttentionPacked. The error of a shape that the device has no kernel for is a vk.ErrLimit.
func NewPacking(d *vk.Device, segments []Segment, s PackedShape) (*Packing, error) {
	if !s.of(1, 1).valid() || len(segments) == 0 {
		return nil, fmt.Errorf("op attention_packed: %d segments of %+v", len(segments), s)
	}
	p := &Packing{}
	rows := 0
	for i, g := range segments {
		if g.Rows < 1 || g.Row < 0 || len(g.Path) < g.Rows || int(g.Path[len(g.Path)-1]) != g.Row+g.Rows-1 {
			return nil, fmt.Errorf("op attention_packed: segment %d has %d rows from %d on, and a path of %d", i, g.Rows, g.Row, len(g.Path))
		}
		rows += g.Rows
		p.longer = max(p.longer, len(g.Path))
		p.seen += float64(g.Rows) * (float64(len(g.Path)) - float64(g.Rows-1)/2)
	}
	p.mean = ceilDiv(rows, len(segments))
	way, err := p.way(d, s)
	if err != nil {
		return nil, err
	}
	type item struct{ segment, row0 int }
	var items []item
	group := s.Heads / s.KVHeads
	for i, g := range segments {
		for row0 := 0; row0 < g.Rows*group; row0 += way.rows {
			items = append(items, item{i, row0})
		}
	}
	keys := func(i item) int {
		g := segments[i.segment]
		return len(g.Path) - g.Rows + min(g.Rows, (i.row0+way.rows)/group)
	}
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(keys(b), keys(a)) }) // those with most keys start first
	if p.items = len(items); p.items > maxGroups {
		return nil, fmt.Errorf("op attention_packed: %d workgroups, at most %d: %w", p.items, maxGroups, vk.ErrLimit)
	}
	tables := make([]int, len(segments))
	at := packedItem * len(items)
	for i, g := range segments {
		tables[i] = at
		at += len(g.Path)
	}
	p.Words = make([]uint32, 0, at)
	for _, i := range items {
		g := segments[i.segment]
		p.Words = append(p.Words, uint32(g.Row), uint32(len(g.Path)-g.Rows), uint32(g.Rows), uint32(tables[i.segment]), uint32(i.row0))
	}
	for _, g := range segments {
		p.Words = append(p.Words, g.Path...)
	}
	return p, nil
}

// of is the shape of a window with so many queries and keys.
func (s PackedShape) of(queries, keys int) AttentionShape {
	return AttentionShape{Windows: 1, QueryLen: queries, KeyLen: keys, Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, SlidingWindow: s.SlidingWindow, LogitOptions: s.LogitOptions, Batch: true}
}

// way is the kernel: that of windows which are as long as segments are in the mean.
func (p *Packing) way(d *vk.Device, s PackedShape) (attentionWay, error) {
	way, err := s.of(p.mean, p.longer).f32Way(d, false, true)
	switch way.shader {
	case "attention_cpu_shuffle":
		way.shader = "attention_cpu_packed_shuffle"
	default:
		way.shader += "_packed"
	}
	return way, err
}

// AttentionPacked records o = softmax(q·kᵀ/√HeadDim)·v for every token of packed segments and every head, each token seeing those of its
// path up to itself.
//
//	q, o  [rows, Heads·HeadDim]    F32; o may be q
//	k, v  [rows, KVHeads·HeadDim]  F32
//	table [1, words]               the words of p
//
// A token's numbers are those that Attention with Batch gives it in a window of its own, bit by bit: they depend on its path's tokens
// alone. Where a tensor outgrows a binding, the error is a vk.ErrLimit. Sources: as Attention; Yao et al. 2024, arXiv 2404.00242 (attention
// over trees).
func AttentionPacked(r *vk.Recorder, o, q, k, v, table Tensor, p *Packing, s PackedShape) {
	ok := s.of(1, 1).valid() && words(o, q, k, v, table) && q.Cols == s.Heads*s.HeadDim && o.Is(q.Rows, q.Cols) && k.Is(q.Rows, s.KVHeads*s.HeadDim) &&
		v.Is(k.Rows, k.Cols) && table.Is(1, len(p.Words))
	if !check(r, "attention_packed", ok, o, q, k, v, table) {
		return
	}
	d := r.Device()
	way, err := p.way(d, s)
	if err != nil {
		r.Fail(err)
		return
	}
	for _, t := range []Tensor{q, k} {
		if bindableRows(r, t) < t.Rows {
			r.Fail(fmt.Errorf("op attention_packed: %d rows of %s: %s binds at most %s: %w", t.Rows, vk.Bytes(t.RowBytes()), d.Info.Name, vk.Bytes(d.Limits().StorageRange), vk.ErrLimit))
			return
		}
	}
	constants := []any{"kv_heads", s.KVHeads, "group", s.Heads / s.KVHeads, "sliding", s.SlidingWindow, "scale", s.of(1, 1).scale()}
	args := []vk.Arg{vk.In(q.View), vk.Out(o.View), vk.In(table.View)}
	if way.address {
		constants = append(constants, "k", address{}, "v", address{})
		args = append(args, vk.InAt(k.View, 4), vk.InAt(v.View, 6))
	} else {
		args = append(args, vk.In(k.View), vk.In(v.View))
	}
	dispatchSource(r, vk.Source{Name: way.shader, Texels: way.texels, Shared: way.shared}, way.spec, [3]int{p.items, s.KVHeads, 1}, push(constants...), 4*p.seen*float64(q.Cols), args...)
}
