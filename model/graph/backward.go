package graph

import (
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Back is what backward passes take besides tapes: one serves all layers. All gradients are F32.
type Back struct {
	mlp, norm, mid, o, q, k, v *vk.Buffer // gradients of what is called so in Scratch
	given                      *vk.Buffer // of what attention or MLP gives, where it is normed or scaled before it is added; else nil
	rows, columns              *vk.Buffer // dy and x of a product, transposed
	attention                  *vk.Buffer // what its gradients need besides
	spare                      Spare      // as Scratch.spare, for gradients
	weight                     *vk.Buffer // a matrix transposed, in its dtype
	low                        *vk.Buffer // of low-rank updates, see op.LowRankGrads; nil without
}

// NewBack allocates for up to so many rows, matrices of at most so many bytes, and low-rank updates of at most some rank, 0 where there are
// none.
func NewBack(s *vk.Scope, c *arch.Config, rows int, matrix int64, rank int) *Back {
	t := table{s, rows}
	query, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	widest := max(query, c.IntermediateSize, c.HiddenSize)
	b := &Back{
		mlp: t.floats("gradients of MLP activations", c.IntermediateSize), norm: t.floats("gradients of normed states", c.HiddenSize),
		mid: t.floats("gradients of hidden states", c.HiddenSize), o: t.floats("gradients of attention's output", query),
		q: t.floats("gradients of queries", query), k: t.floats("gradients of keys", kv), v: t.floats("gradients of values", kv),
		rows: t.floats("transposed gradients", widest), columns: t.floats("transposed activations", widest),
		attention: s.Buffer("attention's sums", 4*int64(op.AttentionBackwardScratch(s.Device(), attentionShape(c, 0, 1, rows, rows))), vk.OnDevice),
	}
	if c.OutputNorms || c.ResidualScale != 0 {
		b.given = t.floats("gradients of what is added", c.HiddenSize)
	}
	b.spare = newGradSpare(s, c.DType, rows, widest, widest)
	b.weight = s.Buffer("transposed weights", matrix, vk.OnDevice)
	b.low = t.floats("products with low-rank factors", rank)
	return b
}

// factor is what a product reads, and that transposed.
type factor struct{ x, t op.Tensor }

// product records the gradients of y = x·wᵀ + bias: dx = residual + dy·w, and those of the role's weights, which are added to; each unless
// it is absent.
func (b *Back) product(r *vk.Recorder, dy, w op.Tensor, in factor, dx, residual op.Tensor, of productGrads) {
	g := op.LinearGrads{X: dx, Residual: residual, W: of.w, Bias: of.bias, XT: in.t}
	if !of.w.IsZero() {
		g.DYT = Floats(b.rows, dy.Cols, dy.Rows)
	}
	if !of.low.A.IsZero() {
		op.LowRankBackward(r, dy, in.x, of.low.A, of.low.B, op.LowRankGrads{A: of.low.DA, B: of.low.DB, XT: in.t, DYT: Floats(b.rows, dy.Cols, dy.Rows),
			Product: Floats(b.low, of.low.A.Rows, dy.Rows)})
	}
	if !dx.IsZero() {
		g.WT = op.Of(b.weight.All(), w.DType, w.Cols, w.Rows)
	}
	g.Scratch, g.Halves = b.spare.For(dy)
	op.LinearBackward(r, dy, w, g)
}

// transposed records x transposed.
func (b *Back) transposed(r *vk.Recorder, x op.Tensor) factor {
	t := Floats(b.columns, x.Cols, x.Rows)
	op.Transpose(r, t, x)
	return factor{x, t}
}

// normBackward records dx = residual + the gradient of a norm's input, and adds to the gradients of its weights; dy is used up. dx may
// be absent.
func normBackward(r *vk.Recorder, c *arch.Config, dx, dy, x, w, residual, dw, dbias op.Tensor) {
	products := dy
	if c.LayerNorm {
		if !dbias.IsZero() {
			op.ColumnSum(r, dbias, dy, true)
		}
		op.LayerNormBackward(r, dx, products, dy, x, w, residual, float32(c.RMSNormEps))
	} else {
		op.RMSNormBackward(r, dx, products, dy, x, w, residual, float32(c.RMSNormEps), c.NormPlusOne)
	}
	if !dw.IsZero() {
		op.ColumnSum(r, dw, products, true)
	}
}

// headNormBackward does that for the norm of every head, or of all heads of a row together, in place.
func headNormBackward(r *vk.Recorder, c *arch.Config, dy, x, w, dw, products op.Tensor) {
	heads := func(t op.Tensor) op.Tensor { return t.Reshape(t.Elements()/w.Cols, w.Cols) }
	op.RMSNormBackward(r, heads(dy), heads(products), heads(dy), heads(x), w, op.Tensor{}, float32(c.RMSNormEps), c.NormPlusOne)
	if !dw.IsZero() {
		op.ColumnSum(r, dw, heads(products), true)
	}
}

// given records the gradient of what attention or MLP gives from that of the residual stream, dy, which stays. y is what it gave before its
// norm, which is used up.
func (b Block) given(r *vk.Recorder, dy op.Tensor, y *vk.Buffer, norm arch.Role, grads Gradients, s *Back) op.Tensor {
	c, dx := b.Config, dy
	if s.given != nil {
		dx = Floats(s.given, dy.Rows, dy.Cols)
	}
	switch {
	case c.OutputNorms:
		x, dw := Floats(y, dy.Rows, dy.Cols), grads.W[norm]
		op.RMSNormBackward(r, dx, x, dy, x, b.Weights[norm], op.Tensor{}, float32(c.RMSNormEps), c.NormPlusOne)
		if !dw.IsZero() {
			op.ColumnSum(r, dw, x, true)
		}
	case c.ResidualScale != 0:
		op.Scale(r, dx, dy, float32(c.ResidualScale))
	}
	return dx
}

// normed records what a product read, and gives it: the norm of x, or x where there is none.
func (b Block) normed(r *vk.Recorder, place, x op.Tensor, role arch.Role) op.Tensor {
	if b.Weights[role].IsZero() {
		return x
	}
	RecordNorm(r, b.Config, place, x, b.Weights[role], b.Weights[role+1])
	return place
}

// Gradients are what a backward pass reads and makes. All are F32.
type Gradients struct {
	W   []op.Tensor // by arch.Role: those of the weights are added to these; absent ones are frozen
	Low []LowRank   // by arch.Role, of weights that are frozen themselves; nil: there are none
	DY  op.Tensor   // [rows, hidden]: that of the layer's output; it is used up
	DX  op.Tensor   // [rows, hidden]: that of x is put here, which may be DY; absent: it is not wanted
}

// LowRank is a low-rank update of a matrix, which holds it already, and the gradients that are added to: see op.LowRank. All are F32.
type LowRank struct{ A, B, DA, DB op.Tensor }

// productGrads are those of a product's weights.
type productGrads struct {
	w, bias op.Tensor
	low     LowRank
}

// product is the gradients of a product by its roles.
func (g Gradients) product(weight, bias arch.Role) productGrads {
	p := productGrads{w: g.W[weight], bias: g.W[bias]}
	if g.Low != nil {
		p.low = g.Low[weight]
	}
	return p
}

// Backward records the gradients of a layer whose forward pass was recorded with a tape as its Scratch, on windows of so many rows. What the
// tape holds is used up. Weights must lie where they can be bound.
func (b Block) Backward(r *vk.Recorder, x op.Tensor, window int, grads Gradients, s *Back) {
	b.mlpBackward(r, x, grads, s)
	b.attentionBackward(r, x, window, grads, s)
}

// mlpBackward makes the gradient of the residual stream between attention and MLP; of those side by side that of the normed states.
func (b Block) mlpBackward(r *vk.Recorder, x op.Tensor, grads Gradients, s *Back) {
	c, t, w, g, dy, none, n := b.Config, b.Scratch, b.Weights, grads.W, grads.DY, op.Tensor{}, grads.DY.Rows
	norm, mid, mlp := Floats(t.norm, n, c.HiddenSize), Floats(t.mid, n, c.HiddenSize), Floats(t.mlp, n, c.IntermediateSize)
	dmlp, dnorm, dmid := Floats(s.mlp, n, c.IntermediateSize), Floats(s.norm, n, c.HiddenSize), Floats(s.mid, n, c.HiddenSize)

	s.product(r, b.given(r, dy, t.fed, arch.MLPNorm, grads, s), w[arch.Down], s.transposed(r, mlp), dmlp, none, grads.product(arch.Down, arch.DownBias))
	before, of := none, arch.PostNorm
	switch {
	case c.NoInputNorms: // the products read mid itself
		dnorm, before = dmid, dy
	case c.Parallel: // they read what attention reads
		mid, of = x, arch.InputNorm
	}
	norm = b.normed(r, norm, mid, of)
	if c.ReLU {
		op.ReLUBackward(r, dmlp, dmlp, mlp)
		s.product(r, dmlp, w[arch.Up], s.transposed(r, norm), dnorm, before, grads.product(arch.Up, arch.UpBias))
	} else {
		gate, up := Floats(t.gate, n, mlp.Cols), Floats(t.up, n, mlp.Cols)
		op.SwiGLUBackward(r, gate, up, dmlp, gate, up, c.GELU)
		xt := s.transposed(r, norm)
		s.product(r, gate, w[arch.Gate], xt, dnorm, before, grads.product(arch.Gate, arch.GateBias))
		s.product(r, up, w[arch.Up], xt, dnorm, dnorm, grads.product(arch.Up, arch.UpBias))
	}
	if !c.NoInputNorms && !c.Parallel {
		normBackward(r, c, dmid, dnorm, mid, w[arch.PostNorm], dy, g[arch.PostNorm], g[arch.PostNormBias])
	}
}

// attentionBackward goes on from there to x.
func (b Block) attentionBackward(r *vk.Recorder, x op.Tensor, window int, grads Gradients, s *Back) {
	c, t, w, g, none, n := b.Config, b.Scratch, b.Weights, grads.W, op.Tensor{}, x.Rows
	query, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	norm, dnorm, dmid := Floats(t.norm, n, c.HiddenSize), Floats(s.norm, n, c.HiddenSize), Floats(s.mid, n, c.HiddenSize)
	q, k, v, o := Floats(t.q, n, query), Floats(t.k, n, kv), Floats(t.v, n, kv), Floats(t.o, n, query)
	dq, dk, dv, do := Floats(s.q, n, query), Floats(s.k, n, kv), Floats(s.v, n, kv), Floats(s.o, n, query)
	if c.Parallel {
		dmid = grads.DY
	}
	s.product(r, b.given(r, dmid, t.attended, arch.AttentionNorm, grads, s), w[arch.O], s.transposed(r, o), do, none, grads.product(arch.O, arch.OBias))
	shape := b.attentionShape(n/window, window, window)
	op.AttentionBackward(r, dq, dk, dv, q, k, v, o, do, shape, Floats(s.attention, 1, op.AttentionBackwardScratch(r.Device(), shape)))
	if rope := b.Rope; !rope.IsZero() && c.Rotary(b.Layer) {
		op.RoPEBackward(r, dq, rope, c.HeadDim, window, 0, rotaryOf(c))
		op.RoPEBackward(r, dk, rope, c.HeadDim, window, 0, rotaryOf(c))
	}
	if qNorm, kNorm := b.qkNorms(); !qNorm.IsZero() {
		gq, gk := g[arch.QNorm], g[arch.KNorm]
		if c.RowNorm {
			gq, gk = g[arch.QRowNorm], g[arch.KRowNorm]
		}
		split := op.QKVShape{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Window: window, Eps: float32(c.RMSNormEps)}
		op.SplitQKV(r, q, k, v, Floats(t.qkv, n, qkvCols(c)), none, none, none, split) // as they were before the norms
		headNormBackward(r, c, dq, q, qNorm, gq, do)
		headNormBackward(r, c, dk, k, kNorm, gk, op.Of(do.View, dtype.F32, n, kv))
	}
	before := none
	switch {
	case c.NoInputNorms:
		dnorm, before = grads.DX, dmid
	case c.Parallel:
		before = dnorm // that of the MLP
	}
	xt := s.transposed(r, b.normed(r, norm, x, arch.InputNorm))
	s.product(r, dq, w[arch.Q], xt, dnorm, before, grads.product(arch.Q, arch.QBias))
	s.product(r, dk, w[arch.K], xt, dnorm, dnorm, grads.product(arch.K, arch.KBias))
	s.product(r, dv, w[arch.V], xt, dnorm, dnorm, grads.product(arch.V, arch.VBias))
	if c.NoInputNorms {
		return
	}
	normBackward(r, c, grads.DX, dnorm, x, w[arch.InputNorm], dmid, g[arch.InputNorm], g[arch.InputNormBias])
}
