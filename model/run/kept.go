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

// kept is what projections of a layer read when it ran for a batch: what LayerKeeping leaves for layers that are the same up to there.
type kept struct {
	config         *arch.Config
	layer          int
	origins        model.Origins
	o              dtype.DType // of o_proj, which has a say in how attention rounds
	input          uint64      // the states that entered
	attention, mlp states.Copy // what o_proj and down_proj read
}

// LayerKeeping is Layer, and keeps what o_proj and down_proj read, as far as memory has room: in the device's that is for states and in the
// host's, not in files. A layer that runs later on the same states, of the same number, by the same config and with the same weights up to one of
// these projections, goes on from there. It gives the same bits and counts as run in full. What an earlier call left goes as the batches run.
func (f *Forward) LayerKeeping(ctx context.Context, m *model.Model, l int, visit func(Step) error) (err error) {
	if err := f.Wait(ctx); err != nil { // something on its way may still read what goes
		return err
	}
	defer func() {
		for i := range f.kept {
			if err != nil {
				f.kept[i].input = 0 // of no states: not all was computed
			}
		}
	}()
	if f.kept == nil {
		f.kept = make([]kept, len(f.batches))
	}
	if err := f.run(ctx, layerCall{m: m, layer: l, batches: f.store.All(), keep: true}, visit); err != nil {
		return err
	}
	return f.Wait(ctx)
}

// Forget drops what LayerKeeping left of layers other than l. Nothing on its way may still read it.
func (f *Forward) Forget(l int) {
	for i := range f.kept {
		if k := &f.kept[i]; k.layer != l {
			f.drop(k)
		}
	}
}

func (f *Forward) drop(k *kept) {
	f.store.DropCopy(k.attention)
	f.store.DropCopy(k.mlp)
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
	if f.kept == nil || c.last {
		return is, nil
	}
	k, config := &f.kept[batch], c.m.Config
	if is = k.known(c, f.store.ID(c.layer, batch)); is.attention {
		block.Attention, err = f.store.UploadCopy(ctx, k.attention, f.scratch.Attention(rows, config.Heads*config.HeadDim))
	}
	if is.mlp && err == nil {
		block.MLP, err = f.store.UploadCopy(ctx, k.mlp, f.scratch.MLP(rows, config.IntermediateSize))
	}
	return is, err
}

// leave keeps what a batch's run made that was not known.
func (f *Forward) leave(ctx context.Context, c layerCall, batch int, attention, mlp op.Tensor, was known) (err error) {
	k := &f.kept[batch]
	if was.mlp {
		return nil
	}
	layer := c.m.Layers[c.layer]
	next := kept{config: c.m.Config, layer: c.layer, origins: layer.Origins(), o: layer.Weights[arch.O].DType, input: f.store.ID(c.layer, batch)}
	if was.attention {
		next.attention, k.attention = k.attention, states.Copy{}
	}
	f.drop(k)
	if !was.attention {
		next.attention, err = f.store.Copy(ctx, attention.View)
	}
	if err == nil && next.attention.There() && !c.m.Config.Sparse(c.layer) {
		next.mlp, err = f.store.Copy(ctx, mlp.View)
	}
	*k = next
	return errors.Join(err, f.r.Err())
}
