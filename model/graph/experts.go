package graph

import (
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// mixture is the device memory that mixtures of experts take besides: for each row what it gives each expert, and for some rows at a time,
// of which each is there once for each expert that it chose, all else.
type mixture struct {
	gates                                *vk.Buffer
	rows                                 int // at a time
	choice, share, place, offsets, tiles *vk.Buffer
	row, x, mlp                          *vk.Buffer // by expert
}

// fewRows is how many rows that follow others go through the kernels for single rows.
const fewRows = 4

// newMixture allocates for up to so many rows; a model without experts needs nothing.
func newMixture(s *vk.Scope, c *arch.Config, rows int) *mixture {
	if c.Experts == 0 {
		return nil
	}
	m := &mixture{gates: table{s, rows}.floats("gates of experts", c.Experts), rows: mixtureRows(s.Device(), c, rows)}
	t := table{s, m.rows * c.PerToken}
	m.choice, m.share, m.place, m.row = t.floats("experts chosen", 1), t.floats("shares of experts", 1), t.floats("places by expert", 1), t.floats("rows by expert", 1)
	m.x, m.mlp = t.floats("hidden states by expert", c.HiddenSize), t.floats("MLP activations by expert", c.Neurons)
	m.offsets = s.Buffer("ends of experts", 4*int64(c.Experts+1), vk.OnDevice)
	m.tiles = s.Buffer("tiles of experts", 4*int64(op.GroupTiles(c.Experts, t.rows)), vk.OnDevice)
	return m
}

// mixtureRows is how many of so many rows go through the experts at a time: no tensor may outgrow a binding, and the next rows begin where
// they can be bound.
func mixtureRows(d *vk.Device, c *arch.Config, rows int) int {
	const unit = 64
	most := int(d.Limits().StorageRange / (4 * int64(c.PerToken) * int64(max(c.HiddenSize, c.Neurons))))
	return min(rows, max(unit, most/unit*unit))
}

// experts records out = mid + the mixture of experts of norm(mid).
func (f *forward) experts(out, mid op.Tensor) {
	c, r, w, s := f.Config, f.r, f.Weights, f.Scratch.mixture
	RecordNorm(r, c, f.norm, mid, w[arch.PostNorm], w[arch.PostNormBias])
	gates := Floats(s.gates, mid.Rows, c.Experts)
	// Without scratch the products are of f32 whatever the device: what is chosen hangs on them.
	op.LinearFused(r, gates, f.norm, w[arch.Router], op.Fused{Batch: f.batch})
	if f.Apart {
		f.Tap(c.Operation(arch.PostNorm), f.norm)
		f.Tap(c.Operation(arch.Router), gates)
	}
	for begin := 0; begin < mid.Rows; begin += s.rows {
		end := min(begin+s.rows, mid.Rows)
		f.some(out.RowRange(begin, end), mid.RowRange(begin, end), f.norm.RowRange(begin, end), gates.RowRange(begin, end))
	}
	f.Tap(TapMLP, gates)
	if f.Apart {
		f.Tap(c.Operation(arch.ExpertDown), out)
	}
	f.Tap(TapOut, out)
}

// some records that for some rows, of which gates has the products with the router's.
func (f *forward) some(out, mid, norm, gates op.Tensor) {
	c, r, w, s, n := f.Config, f.r, f.Weights, f.Scratch.mixture, mid.Rows
	pairs := n * c.PerToken
	choice, share, place := Floats(s.choice, n, c.PerToken), Floats(s.share, n, c.PerToken), Floats(s.place, n, c.PerToken)
	row, offsets := Floats(s.row, 1, pairs), Floats(s.offsets, 1, c.Experts+1)
	x, mlp := Floats(s.x, pairs, c.HiddenSize), Floats(s.mlp, pairs, c.Neurons)
	tiles, few := Floats(s.tiles, 1, op.GroupTiles(c.Experts, pairs)), !f.batch && n <= fewRows
	op.Route(r, gates, choice, share, c.Divide)
	op.Group(r, offsets, place, row, choice)
	op.GatherRows(r, x, 0, norm, row)
	op.LinearGrouped(r, mlp, x, op.Grouped{W: w[arch.ExpertGate], Up: w[arch.ExpertUp], Offsets: offsets, Tiles: tiles, Few: few})
	op.LinearGrouped(r, x, mlp, op.Grouped{W: w[arch.ExpertDown], Offsets: offsets, Tiles: tiles, Few: few})
	op.Combine(r, out, x, share, place, mid)
}
