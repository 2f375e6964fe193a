package merge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Options are choices that the paper makes otherwise: its own are the zero value.
type Options struct {
	// Tiled takes those query heads whose number modulo kv_heads is kept, as the authors' released code does: wrong where
	// g > 1 and kv_heads > 1, and there to compare with its numbers.
	Tiled bool
	// First takes from the first layer all that is neither a head nor a neuron, norms above all: the neurons of the others are made to read its
	// norm, as Reading does. Heads are then the first layer's alone.
	First bool
	// NormByRatio sums the norms' weights by ratio instead of averaging them.
	NormByRatio bool
}

// Concat joins layers into one of the same shapes: from layers[i] the KV heads kept[i].KVHeads with their query heads and the FFN
// neurons kept[i].Neurons, or the experts kept[i].Experts with their rows of the router, layer after layer. The weights and biases of norms are averaged; q and k norms and the biases of the output and down
// projections are summed by ratio. It is done on the device, one tensor at a time; experts are not copied, but stay where they are.
//
// The query heads of KV head k are k·g … k·g+g−1, g being heads / kv_heads.
func Concat(ctx context.Context, d *vk.Device, c *arch.Config, layers []*model.Layer, kept []Kept, ratio []float64, o Options) (out *model.Layer, err error) {
	r, err := d.NewRecorder()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if o.First {
		layers = slices.Clone(layers)
		for i, l := range layers[1:] {
			if layers[1+i], err = Reading(c, l, layers[0]); err != nil {
				return nil, err
			}
		}
	}
	j := joiner{ctx: ctx, d: d, r: r, layers: layers}
	if err := j.alike(); err != nil {
		return nil, err
	}

	mean, shares := make([]float32, len(layers)), make([]float32, len(layers))
	channels := map[arch.Axis][][]uint32{} // that are kept of each layer, along the axes that are cut
	for i, k := range kept {
		mean[i], shares[i] = 1/float32(len(layers)), float32(ratio[i])
		switch {
		case o.First && i == 0:
			mean[i], shares[i] = 1, 1
		case o.First:
			mean[i], shares[i] = 0, 0
		case o.NormByRatio:
			mean[i] = shares[i]
		}
		channels[arch.QueryChannels] = append(channels[arch.QueryChannels], expand(queryHeads(k.KVHeads, c.Heads, c.KVHeads, o.Tiled), c.HeadDim))
		channels[arch.KVChannels] = append(channels[arch.KVChannels], expand(k.KVHeads, c.HeadDim))
		channels[arch.Neurons] = append(channels[arch.Neurons], expand(k.Neurons, 1))
	}
	out = &model.Layer{}
	for r := range arch.LayerRoles {
		var w model.Weight
		switch info := r.Info(); {
		case info.Merge == arch.Pick:
			w, err = j.pick(r, c.Experts, kept)
		case info.Merge == arch.Average:
			w, err = j.sum(r, mean)
		case info.Merge == arch.ByRatio:
			w, err = j.sum(r, shares)
		case channels[info.Rows] != nil:
			w, err = j.gather(r, channels[info.Rows], op.GatherRows)
		default:
			w, err = j.gather(r, channels[info.Cols], op.GatherCols)
		}
		if err != nil {
			return nil, fmt.Errorf("merge: %s: %w", layers[0].Weights[r].Name, err)
		}
		out.Weights[r] = w
	}
	return out, nil
}

// queryHeads lists the query heads that belong to the kept KV heads, ascending.
func queryHeads(kept []int, heads, kvHeads int, tiled bool) []int {
	var list []int
	group := heads / kvHeads
	for h := range heads {
		owner := h / group
		if tiled {
			owner = h % kvHeads
		}
		for _, k := range kept {
			if k == owner {
				list = append(list, h)
			}
		}
	}
	return list
}

// expand turns units into the indices of their width channels each.
func expand(units []int, width int) []uint32 {
	list := make([]uint32, 0, len(units)*width)
	for _, u := range units {
		for c := range width {
			list = append(list, uint32(u*width+c))
		}
	}
	return list
}

// joiner makes one tensor of a merged layer at a time.
type joiner struct {
	ctx    context.Context
	d      *vk.Device
	r      *vk.Recorder
	layers []*model.Layer
	bufs   []*vk.Buffer
}

func (j *joiner) put(w model.Weight) (op.Tensor, error) {
	b, err := j.d.NewBuffer("weights to merge", w.Size(), vk.OnDevice)
	if err != nil {
		return op.Tensor{}, err
	}
	j.bufs = append(j.bufs, b)
	return op.Of(b.All(), w.DType, w.Rows, w.Cols), graph.Put(j.ctx, j.d, b.All(), w)
}

// join makes part p: record records the share of each source, which is on the device for that long. scratch is f32 of the part's
// shape, or absent.
func (j *joiner) join(p arch.Role, scratch bool, record func(dst, scratch, src op.Tensor, i int) error) (w model.Weight, err error) {
	first := j.layers[0].Weights[p]
	if first.IsZero() {
		return w, nil
	}
	defer func() {
		err = errors.Join(err, j.r.Wait(context.WithoutCancel(j.ctx)))
		j.d.Free(j.bufs...)
		j.bufs = nil
	}()
	w = model.Weight{Name: first.Name, DType: first.DType, Rows: first.Rows, Cols: first.Cols, Data: make([]byte, first.Size())}
	dst, err := j.put(w)
	if err != nil {
		return w, err
	}
	var room op.Tensor
	if scratch {
		if room, err = j.put(model.Weight{DType: dtype.F32, Rows: w.Rows, Cols: w.Cols, Data: make([]byte, 4*w.Rows*w.Cols)}); err != nil {
			return w, err
		}
	}
	stay := len(j.bufs)
	for i, l := range j.layers {
		s := l.Weights[p]
		if s.DType != w.DType || s.Rows != w.Rows || s.Cols != w.Cols {
			return w, fmt.Errorf("%s is %v [%d %d], %s is %v [%d %d]", first.Name, w.DType, w.Rows, w.Cols, s.Name, s.DType, s.Rows, s.Cols)
		}
		src, err := j.put(s)
		if err != nil {
			return w, err
		}
		if err := errors.Join(record(dst, room, src, i), j.r.Wait(j.ctx)); err != nil {
			return w, err
		}
		j.d.Free(j.bufs[stay:]...)
		j.bufs = j.bufs[:stay]
	}
	return w, j.d.Download(j.ctx, w.Data, dst.View)
}

// gather concatenates the listed rows or columns of every source.
func (j *joiner) gather(p arch.Role, index [][]uint32, gather func(r *vk.Recorder, dst op.Tensor, at int, src, index op.Tensor)) (model.Weight, error) {
	at := 0
	return j.join(p, false, func(dst, _, src op.Tensor, i int) error {
		n := len(index[i])
		if n == 0 {
			return nil
		}
		raw := make([]byte, 0, 4*n)
		for _, v := range index[i] {
			raw = binary.LittleEndian.AppendUint32(raw, v)
		}
		list, err := j.put(model.Weight{DType: dtype.F32, Rows: 1, Cols: n, Data: raw})
		if err != nil {
			return err
		}
		gather(j.r, dst, at, src, list)
		at += n
		return nil
	})
}

// alike refuses layers some of which have experts.
func (j *joiner) alike() error {
	first := j.layers[0].Weights[arch.Router]
	for _, l := range j.layers {
		if w := l.Weights[arch.Router]; w.IsZero() != first.IsZero() {
			return fmt.Errorf("merge: %s%s is there in some of the layers: dense layers and layers with experts cannot be joined", first.Name, w.Name)
		}
	}
	return nil
}

// pick is the rows of the experts that are kept of every source: views, so that a layer that is larger than memory is none.
func (j *joiner) pick(p arch.Role, experts int, kept []Kept) (model.Weight, error) {
	var list []model.Weight
	for i, l := range j.layers {
		w := l.Weights[p]
		if w.IsZero() {
			return w, nil
		}
		rows := w.Rows / experts
		for _, e := range kept[i].Experts {
			list = append(list, w.RowRange(e*rows, (e+1)*rows))
		}
	}
	if len(list) != experts {
		return model.Weight{}, fmt.Errorf("%d experts are kept, a layer has %d", len(list), experts)
	}
	return model.Stack(list...)
}

// sum adds the sources up by weight.
func (j *joiner) sum(p arch.Role, weights []float32) (model.Weight, error) {
	return j.join(p, true, func(dst, scratch, src op.Tensor, i int) error {
		op.WeightedTerm(j.r, dst, scratch, src, weights[i], i == 0, i == len(j.layers)-1)
		return nil
	})
}
