package model

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// tape is what a layer's forward pass keeps for its backward pass.
type tape struct{ scratch }

// tapeList is the buffers of a tape.
func (t *tape) list(d *vk.Device, c *Config) []buffer {
	list := append(t.scratch.list(d, c), buffer{&t.o, "attention output", c.Heads * c.HeadDim}, buffer{&t.mid, "hidden states between attention and MLP", c.HiddenSize})
	if !c.ReLU {
		list = append(list, buffer{&t.gate, "gates", c.IntermediateSize}, buffer{&t.up, "MLP inputs", c.IntermediateSize})
	}
	return list
}

// backScratch is what backward passes take besides: one serves all layers. All gradients are F32.
type backScratch struct {
	mlp, norm, mid, o, q, k, v *vk.Buffer // gradients of what is called so in scratch
	rows, columns              *vk.Buffer // dy and x of a product, transposed
	lse                        *vk.Buffer // of attention's rows
	weight                     *vk.Buffer // a matrix transposed, in its dtype
	spare                      *vk.Buffer // as scratch.spare, for gradients
}

func (b *backScratch) list(d *vk.Device, c *Config) []buffer {
	query, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	widest := max(query, c.IntermediateSize, c.HiddenSize)
	list := []buffer{
		{&b.mlp, "gradients of MLP activations", c.IntermediateSize}, {&b.norm, "gradients of normed states", c.HiddenSize}, {&b.mid, "gradients of hidden states", c.HiddenSize},
		{&b.o, "gradients of attention's output", query}, {&b.q, "gradients of queries", query}, {&b.k, "gradients of keys", kv}, {&b.v, "gradients of values", kv},
		{&b.rows, "transposed gradients", widest}, {&b.columns, "transposed activations", widest}, {&b.lse, "attention's sums", 2 * c.Heads},
	}
	if op.LinearScratch(d, c.DType) {
		list = append(list, buffer{&b.spare, "gradients in half precision", widest})
	}
	return list
}

// allocate makes the scratch for so many tokens and matrices of weight bytes.
func (b *backScratch) allocate(d *vk.Device, c *Config, tokens int, weight int64) (err error) {
	if err := allocate(d, tokens, b.list(d, c)); err != nil {
		return err
	}
	b.weight, err = d.NewBuffer("transposed weights", weight, vk.OnDevice)
	return err
}

func (b *backScratch) free(d *vk.Device) {
	free(d, b.list(d, new(Config)))
	d.Free(b.weight, b.spare)
	b.weight, b.spare = nil, nil
}

// product records the gradients of y = x·wᵀ + bias: dx = residual + dy·w, dw and dbias added to; each unless it is absent. xt is x
// transposed.
func (b *backScratch) product(r *vk.Recorder, dy, w, xt, dx, residual, dw, dbias op.Tensor) {
	g := op.LinearGrads{X: dx, Residual: residual, W: dw, Bias: dbias, XT: xt}
	if !dw.IsZero() {
		g.DYT = rows(b.rows, dy.Cols, dy.Rows)
	}
	if !dx.IsZero() {
		g.WT = op.Of(b.weight.All(), w.DType, w.Cols, w.Rows)
		if b.spare != nil {
			g.Half = rows(b.spare, dy.Rows, dy.Cols)
		}
	}
	op.LinearBackward(r, dy, w, g)
}

// transposed records x transposed.
func (b *backScratch) transposed(r *vk.Recorder, x op.Tensor) op.Tensor {
	t := rows(b.columns, x.Cols, x.Rows)
	op.Transpose(r, t, x)
	return t
}

// normBackward records dx = residual + the gradient of a norm's input, and adds to the gradients of its weights; dy is used up. dx may
// be absent.
func (c *Config) normBackward(r *vk.Recorder, dx, dy, x, w, residual, dw, dbias op.Tensor) {
	products := dy
	if c.LayerNorm {
		if !dbias.IsZero() {
			op.ColumnSum(r, dbias, dy, true)
		}
		op.LayerNormBackward(r, dx, products, dy, x, w, residual, float32(c.RMSNormEps))
	} else {
		op.RMSNormBackward(r, dx, products, dy, x, w, residual, float32(c.RMSNormEps))
	}
	if !dw.IsZero() {
		op.ColumnSum(r, dw, products, true)
	}
}

// headNormBackward does that for the norm of every head, in place.
func (c *Config) headNormBackward(r *vk.Recorder, dy, x, w, dw, products op.Tensor) {
	heads := func(t op.Tensor) op.Tensor { return t.Reshape(t.Elements()/c.HeadDim, c.HeadDim) }
	op.RMSNormBackward(r, heads(dy), heads(products), heads(dy), heads(x), w, op.Tensor{}, float32(c.RMSNormEps))
	op.ColumnSum(r, dw, heads(products), true)
}

// backward records the gradients of a decoder layer that was recorded with a tape: those of its weights are added to g, by Part, and dx
// is that of x, unless it is absent. What the tape holds is used up.
//
//	x, dx, dy  [windows·window, hidden]  F32; dx may be dy
//	w, g       by Part; g F32
func (t *tape) backward(r *vk.Recorder, c *Config, layer int, w, g []op.Tensor, b *backScratch, dx, dy, x, rope op.Tensor, window int) {
	n, none := x.Rows, op.Tensor{}
	query, kv, eps := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim, float32(c.RMSNormEps)
	norm, mid, mlp := rows(t.norm, n, c.HiddenSize), rows(t.mid, n, c.HiddenSize), rows(t.mlp, n, c.IntermediateSize)
	dmlp, dnorm, dmid := rows(b.mlp, n, c.IntermediateSize), rows(b.norm, n, c.HiddenSize), rows(b.mid, n, c.HiddenSize)

	b.product(r, dy, w[Down], b.transposed(r, mlp), dmlp, none, g[Down], g[DownBias])
	c.recordNorm(r, norm, mid, w[PostNorm], w[PostNormBias])
	if c.ReLU {
		op.ReLUBackward(r, dmlp, dmlp, mlp)
		b.product(r, dmlp, w[Up], b.transposed(r, norm), dnorm, none, g[Up], g[UpBias])
	} else {
		gate, up := rows(t.gate, n, mlp.Cols), rows(t.up, n, mlp.Cols)
		op.SwiGLUBackward(r, gate, up, dmlp, gate, up)
		xt := b.transposed(r, norm)
		b.product(r, gate, w[Gate], xt, dnorm, none, g[Gate], g[GateBias])
		b.product(r, up, w[Up], xt, dnorm, dnorm, g[Up], g[UpBias])
	}
	c.normBackward(r, dmid, dnorm, mid, w[PostNorm], dy, g[PostNorm], g[PostNormBias])

	q, k, v, o := rows(t.q, n, query), rows(t.k, n, kv), rows(t.v, n, kv), rows(t.o, n, query)
	dq, dk, dv, do := rows(b.q, n, query), rows(b.k, n, kv), rows(b.v, n, kv), rows(b.o, n, query)
	b.product(r, dmid, w[O], b.transposed(r, o), do, none, g[O], g[OBias])
	shape := op.AttentionShape{Windows: n / window, QueryLen: window, KeyLen: window, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, SlidingWindow: c.Window(layer)}
	op.AttentionBackward(r, dq, dk, dv, q, k, v, o, do, shape, rows(b.lse, 1, op.AttentionBackwardScratch(shape)))
	if !rope.IsZero() {
		op.RoPEBackward(r, dq, rope, c.HeadDim, window, 0)
		op.RoPEBackward(r, dk, rope, c.HeadDim, window, 0)
	}
	if !w[QNorm].IsZero() {
		split := op.QKVShape{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Window: window, Eps: eps}
		op.SplitQKV(r, q, k, v, rows(t.qkv, n, c.qkvCols()), none, none, none, split) // as they were before the norms
		c.headNormBackward(r, dq, q, w[QNorm], g[QNorm], do)
		c.headNormBackward(r, dk, k, w[KNorm], g[KNorm], op.Of(do.View, dtype.F32, n, kv))
	}
	c.recordNorm(r, norm, x, w[InputNorm], w[InputNormBias])
	xt := b.transposed(r, norm)
	b.product(r, dq, w[Q], xt, dnorm, none, g[Q], g[QBias])
	b.product(r, dk, w[K], xt, dnorm, dnorm, g[K], g[KBias])
	b.product(r, dv, w[V], xt, dnorm, dnorm, g[V], g[VBias])
	c.normBackward(r, dx, dnorm, x, w[InputNorm], dmid, g[InputNorm], g[InputNormBias])
}
