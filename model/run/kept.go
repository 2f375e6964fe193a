package run

import (
	"context"
	"errors"
	"reflect"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/states"
)

// kept is what projections of a layer read when it ran for a batch: what Kept.Layer leaves for layers that are the same up to there.
type kept struct {
	config         *arch.Config
	layer          int
	origins        model.Origins
	o              dtype.DType // of o_proj, which has a say in how attention rounds
	input          uint64      // the states that entered
	attention, mlp states.Copy // what o_proj and down_proj read
}

// Kept is what projections of the layer that it ran last read, batch by batch.
type Kept struct {
	f       *Forward
	batches []kept // nil until Layer runs
}

// Layer is that of the Forward, and keeps what o_proj and down_proj read, as far as memory has room: in the device's that is for states and in the
// host's, not in files. A layer that runs later on the same states, of the same number, by the same config and with the same weights up to one of
// these projections, goes on from there. It gives the same bits and counts as run in full. What an earlier call left goes as the batches run.
func (k *Kept) Layer(ctx context.Context, m *model.Model, l int, visit func(Step) error) (err error) {
	if err := k.f.Wait(ctx); err != nil { // something on its way may still read what goes
		return err
	}
	if k.batches == nil {
		k.batches = make([]kept, len(k.f.batches))
	}
	defer func() {
		for i := range k.batches {
			if err != nil {
				k.batches[i].input = 0 // of no states: not all was computed
			}
		}
	}()
	if err := k.f.run(ctx, layerCall{m: m, layer: l, batches: k.f.store.All(), keep: true}, visit); err != nil {
		return err
	}
	return k.f.Wait(ctx)
}

// Forget drops what is kept of layers other than l. Nothing on its way may still read it.
func (k *Kept) Forget(l int) {
	for i := range k.batches {
		if k.batches[i].layer != l {
			k.batches[i].drop(k.f.store)
		}
	}
}

func (k *Kept) close() {
	for i := range k.batches {
		k.batches[i].drop(k.f.store)
	}
}

func (k *kept) drop(s *states.Store) {
	k.attention.Drop(s)
	k.mlp.Drop(s)
	*k = kept{}
}

// known is what is known of what a layer's projections read.
type known struct{ attention, mlp bool }

// known says what a call can go on from.
func (k *kept) known(c layerCall, input uint64) (is known) {
	if k.input != input || k.layer != c.layer || k.o != c.m.Layers[c.layer].Weights[arch.O].DType || k.config != c.m.Config && !reflect.DeepEqual(k.config, c.m.Config) {
		return is
	}
	origins := c.m.Layers[c.layer].Origins()
	same := func(end arch.Role) bool {
		for role := range end {
			if k.origins[role] != origins[role] {
				return false
			}
		}
		return true
	}
	is.attention = k.attention.There() && same(arch.O)
	is.mlp = is.attention && k.mlp.There() && same(arch.Down)
	return is
}

// goOn gives a block what is known of a batch of so many rows.
func (f *Forward) goOn(ctx context.Context, c layerCall, block *graph.Block, batch, rows int) (is known, err error) {
	if f.Kept.batches == nil || c.last {
		return is, nil
	}
	k, config := &f.Kept.batches[batch], c.m.Config
	if is = k.known(c, f.store.ID(c.layer, batch)); is.attention {
		block.Attention, err = k.attention.Tensor(ctx, f.store, f.scratch.Attention(rows, config.Heads*config.HeadDim))
	}
	if is.mlp && err == nil {
		block.MLP, err = k.mlp.Tensor(ctx, f.store, f.scratch.MLP(rows, config.IntermediateSize))
	}
	return is, err
}

// leave keeps what a batch's run made that was not known.
func (f *Forward) leave(ctx context.Context, c layerCall, batch int, attention, mlp op.Tensor, was known) (err error) {
	k := &f.Kept.batches[batch]
	if was.mlp {
		return nil
	}
	layer := c.m.Layers[c.layer]
	next := kept{config: c.m.Config, layer: c.layer, origins: layer.Origins(), o: layer.Weights[arch.O].DType, input: f.store.ID(c.layer, batch)}
	if was.attention {
		next.attention, k.attention = k.attention, states.Copy{}
	}
	k.drop(f.store)
	if !was.attention {
		next.attention, err = states.NewCopy(ctx, f.store, attention.View)
	}
	if err == nil && next.attention.There() && !c.m.Config.Sparse(c.layer) {
		next.mlp, err = states.NewCopy(ctx, f.store, mlp.View)
	}
	*k = next
	return errors.Join(err, f.r.Err())
}
