// Package graph records what a model computes on a device: decoder layers forward and backward, embeddings, the LM head; and keeps the
// weights there that these read. It holds no states between layers: package states does.
package graph

import (
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Floats is the first rows·cols floats of a buffer as a matrix.
func Floats(b *vk.Buffer, rows, cols int) op.Tensor { return op.Of(b.All(), dtype.F32, rows, cols) }

// Slice is elements [begin, end) of a vector of 32-bit words; of an absent one nothing.
func Slice(t op.Tensor, begin, end int) op.Tensor {
	if t.IsZero() {
		return t
	}
	return op.Of(t.View.Slice(4*int64(begin), 4*int64(end-begin)), dtype.F32, 1, end-begin)
}

// Scratch is the device memory that a decoder layer's activations for up to some number of rows take.
type Scratch struct {
	norm, qkv, q, k, v, mlp *vk.Buffer
	spare                   Spare
	Partial                 op.Tensor // what attention needs, of whole sequences unless a generator makes it larger; absent where that is nothing

	// What a backward pass wants besides: nil where there is none, and its place is in a buffer above.
	o             *vk.Buffer // of attention, in place of q
	mid           *vk.Buffer // the residual stream between attention and MLP, in place of the layer's output
	gate, up      *vk.Buffer // what SwiGLU is of, which is then a dispatch of its own; gate in place of mlp. up is there for GELU too
	attended, fed *vk.Buffer // what attention and MLP give before their output norms, in place of norm

	mixture *mixture // nil of models without experts
}

// NewScratch allocates for a forward pass of up to so many rows.
func NewScratch(s *vk.Scope, c *arch.Config, rows int) *Scratch {
	t := table{s, rows}
	a := &Scratch{
		norm: t.floats("normed hidden states", c.HiddenSize), qkv: t.floats("queries, keys and values", qkvCols(c)),
		q: t.floats("queries", c.Heads*c.HeadDim), k: t.floats("keys", c.KVHeads*c.HeadDim), v: t.floats("values", c.KVHeads*c.HeadDim),
		mlp: t.floats("MLP activations", c.DenseNeurons()), mixture: newMixture(s, c, rows),
		spare: NewSpare(s, c.DType, rows, max(c.Heads*c.HeadDim, c.DenseNeurons(), c.HiddenSize), max(qkvCols(c), 2*c.DenseNeurons(), c.HiddenSize)),
	}
	shape := attentionShape(c, 0, 1, rows, rows)
	shape.Batch = true
	if n := op.AttentionScratch(s.Device(), shape); n > 0 {
		a.Partial = Floats(s.Buffer("attention in half precision", 4*int64(n), vk.OnDevice), 1, n)
	}
	if c.GELU { // no product has it at its end
		a.up = t.floats("MLP inputs", c.IntermediateSize)
	}
	return a
}

// NewTape allocates for a forward pass that keeps what its backward pass needs.
func NewTape(s *vk.Scope, c *arch.Config, rows int) *Scratch {
	a, t := NewScratch(s, c, rows), table{s, rows}
	a.o, a.mid = t.floats("attention output", c.Heads*c.HeadDim), t.floats("hidden states between attention and MLP", c.HiddenSize)
	if c.OutputNorms {
		a.attended, a.fed = t.floats("what attention gives", c.HiddenSize), t.floats("what the MLP gives", c.HiddenSize)
	}
	if !c.ReLU {
		a.gate = t.floats("gates", c.IntermediateSize)
	}
	if !c.ReLU && a.up == nil {
		a.up = t.floats("MLP inputs", c.IntermediateSize)
	}
	return a
}

// Spare is where products of the LM head may put what they multiply, free between layers.
func (s *Scratch) Spare() Spare { return s.spare }

// Attention is the place of what o_proj reads of some rows, and MLP that of what down_proj reads.
func (s *Scratch) Attention(rows, cols int) op.Tensor { return Floats(s.q, rows, cols) }
func (s *Scratch) MLP(rows, cols int) op.Tensor       { return Floats(s.mlp, rows, cols) }

// Norm is the place of the normed states of some rows, free between layers.
func (s *Scratch) Norm(rows, cols int) op.Tensor { return Floats(s.norm, rows, cols) }

// table allocates matrices of some rows.
type table struct {
	s    *vk.Scope
	rows int
}

// floats is a buffer of cols floats for each row; of none it is nil.
func (t table) floats(name string, cols int) *vk.Buffer {
	return t.s.Buffer(name, 4*int64(t.rows)*int64(cols), vk.OnDevice)
}

// qkvCols is the columns of queries, keys and values together.
func qkvCols(c *arch.Config) int { return (c.Heads + 2*c.KVHeads) * c.HeadDim }

// Widest is the most floats that a row takes in one tensor of a layer.
func Widest(c *arch.Config) int { return max(c.HiddenSize, qkvCols(c), c.DenseNeurons(), c.Experts) }

// KV is where one layer's keys and values of earlier positions are kept: Capacity rows, of which Used are filled.
type KV struct {
	K, V           op.Tensor
	Capacity, Used int
}

// Rows says how the rows of a batch belong together.
type Rows struct {
	Window int       // the rows of a sequence, which starts at position 0; sequences lie one behind the other
	Pack   *Pack     // the rows are a pack's instead
	Cache  *KV       // the rows are one sequence's that follow what this holds
	Last   op.Tensor // [1, windows·n]: the rows that alone are wanted, the last n of each window; absent: all
}

// The points of a layer that a Tap sees besides operations, which are called by their module, as self_attn.q_proj.
const (
	TapQKV       = "queries, keys and values" // before q and k are normed and turned: attention may hide their NaNs
	TapAttention = "self_attn"                // what o_proj reads
	TapMiddle    = "residual after attention"
	TapMLP       = "mlp activation"     // what down_proj reads
	TapFed       = "what the mlp gives" // before its norm or factor; only where there is one
	TapOut       = "residual after mlp"
)

// Block is a decoder layer on a device.
type Block struct {
	Config  *arch.Config
	Layer   int
	Weights []op.Tensor // by arch.Role
	Rope    op.Tensor   // the cosines and sines of op.SplitQKV, of the layer's kind, for every position in use; absent where positions are learned
	Scratch *Scratch

	// Attention and MLP are what o_proj and down_proj read, where an earlier run of a layer that is the same up to there left it: that is not
	// computed again. MLP is there with Attention alone, and not in a mixture of experts.
	Attention, MLP op.Tensor

	// Tap sees values as they are recorded, good for recording until the layer ends. With Apart it also sees what every operation gives by
	// itself: those that are fused with others are then recorded once more, alone.
	Tap   func(point string, value op.Tensor)
	Apart bool
}

// forward is a Block's forward pass on its way.
type forward struct {
	Block
	r     *vk.Recorder
	rows  Rows
	batch bool // the same bits, however a corpus is cut
	norm  op.Tensor

	parallel func(x op.Tensor) // what comes before x, the rows that are wanted of a layer's input, may be written over; nil: nothing
}

// Forward records out = layer(x).
//
//	x    [rows, hidden]  F32; it is not changed
//	out  [rows, hidden]  F32, another tensor; with Last, a row for each of these
func (b Block) Forward(r *vk.Recorder, out, x op.Tensor, rows Rows) {
	f := &forward{Block: b, r: r, rows: rows, batch: rows.Cache == nil, norm: Floats(b.Scratch.norm, x.Rows, b.Config.HiddenSize)}
	if f.Tap == nil {
		f.Tap = func(string, op.Tensor) {}
	}
	if f.Config.Parallel {
		f.parallel = func(x op.Tensor) { f.activate(x, arch.InputNorm) }
	}
	mid := f.attention(out, x)
	if f.Config.Sparse(f.Layer) {
		f.experts(out, mid)
		return
	}
	if !f.Config.Parallel {
		f.activate(mid, arch.PostNorm)
	}
	f.feed(out, mid)
}

// rotaryOf is which channels of a head are turned.
func rotaryOf(c *arch.Config) op.Rotary {
	return op.Rotary{Dim: c.RotaryDim, Interleaved: c.Interleaved}
}

// qkNorms are the norms of queries and keys, over each head or over all.
func (b Block) qkNorms() (q, k op.Tensor) {
	if b.Config.RowNorm {
		return b.Weights[arch.QRowNorm], b.Weights[arch.KRowNorm]
	}
	return b.Weights[arch.QNorm], b.Weights[arch.KNorm]
}

// add records out = x + what attention or MLP gives: a product of y, normed or scaled where the model says so. kept is where a backward pass
// wants it before the norm.
func (f *forward) add(out, x, y op.Tensor, role, bias, norm arch.Role, kept *vk.Buffer) {
	c, r, w := f.Config, f.r, f.Weights
	o := f.Scratch.spare.in(y, op.Fused{Bias: w[bias], Residual: x, Batch: f.batch})
	if !c.OutputNorms && c.ResidualScale == 0 {
		op.LinearFused(r, out, y, w[role], o)
		return
	}
	alone := f.norm
	if kept != nil {
		alone = Floats(kept, x.Rows, x.Cols)
	}
	o.Residual = op.Tensor{}
	op.LinearFused(r, alone, y, w[role], o)
	if role == arch.Down {
		f.Tap(TapFed, alone)
	}
	if c.OutputNorms {
		op.RMSNorm(r, out, alone, w[norm], float32(c.RMSNormEps), op.NormOptions{PlusOne: c.NormPlusOne, Residual: x})
	} else {
		op.AddScaled(r, out, alone, x, float32(c.ResidualScale))
	}
}

// alone taps a product without what is fused with it.
func (f *forward) alone(role arch.Role, y, x, bias op.Tensor) {
	if f.Apart {
		op.LinearFused(f.r, y, x, f.Weights[role], f.Scratch.spare.in(x, op.Fused{Bias: bias, Batch: f.batch}))
		f.Tap(f.Config.Operation(role), y)
	}
}

// normed taps a norm of x by itself, and gives what it makes of x; where there is no norm that is x.
func (f *forward) normed(role arch.Role, x op.Tensor) op.Tensor {
	if !f.Apart || f.Weights[role].IsZero() {
		return x
	}
	RecordNorm(f.r, f.Config, f.norm, x, f.Weights[role], f.Weights[role+1])
	f.Tap(f.Config.Operation(role), f.norm)
	return f.norm
}

// project is a product of what a norm makes of x.
func (f *forward) project(y, x, weight op.Tensor, norm arch.Role, o op.Fused) {
	o.Batch = f.batch
	spare := f.Scratch.spare
	switch {
	case f.Weights[norm].IsZero():
		o = spare.in(x, o)
	case f.Config.LayerNorm:
		RecordNorm(f.r, f.Config, f.norm, x, f.Weights[norm], f.Weights[norm+1])
		x, o = f.norm, spare.in(f.norm, o)
	default:
		o.Norm, o.Eps, o.PlusOne, o.Scratch, o.Halves = f.Weights[norm], float32(f.Config.RMSNormEps), f.Config.NormPlusOne, f.norm, spare.weights
	}
	op.LinearFused(f.r, y, x, weight, o)
}

// attention records x + o_proj(attention(norm(x))), and gives it: in out, or where a tape keeps it.
func (f *forward) attention(out, x op.Tensor) op.Tensor {
	o := f.Block.Attention
	if o.IsZero() {
		o, x = f.attended(out, x)
	}
	mid := out
	if f.Scratch.mid != nil {
		mid = Floats(f.Scratch.mid, o.Rows, f.Config.HiddenSize)
	}
	f.Tap(TapAttention, o)
	f.alone(arch.O, f.norm, o, f.Weights[arch.OBias])
	if f.parallel != nil {
		f.parallel(x)
	}
	f.add(mid, x, o, arch.O, arch.OBias, arch.AttentionNorm, f.Scratch.attended)
	f.Tap(TapMiddle, mid)
	return mid
}

// attended records what o_proj reads, attention(norm(x)), and gives it with what o_proj's product is added to: of the rows that are wanted.
func (f *forward) attended(out, x op.Tensor) (o, residual op.Tensor) {
	c, r, s, w, n := f.Config, f.r, f.Scratch, f.Weights, x.Rows
	qkv := Floats(s.qkv, n, qkvCols(c))
	q, k, v := Floats(s.q, n, c.Heads*c.HeadDim), Floats(s.k, n, c.KVHeads*c.HeadDim), Floats(s.v, n, c.KVHeads*c.HeadDim)
	split := op.QKVShape{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Window: f.rows.Window, Eps: float32(c.RMSNormEps), PlusOne: c.NormPlusOne, Rotary: rotaryOf(c)}
	rope := f.Rope
	if !c.Rotary(f.Layer) {
		rope = op.Tensor{}
	}
	if kv := f.rows.Cache; kv != nil {
		k, v = kv.K, kv.V
		split.Start, split.Row = kv.Used, kv.Used
	}
	if f.rows.Pack != nil {
		split.Window = n
	}
	bias := w[arch.QBias]
	if !bias.IsZero() {
		column := func(t op.Tensor) op.Tensor { return t.Reshape(t.Cols, 1) }
		bias = op.Joined(column(bias), column(w[arch.KBias]), column(w[arch.VBias]))
		bias = bias.Reshape(1, bias.Rows)
	}
	f.normed(arch.InputNorm, x)
	f.project(qkv, x, op.Joined(w[arch.Q], w[arch.K], w[arch.V]), arch.InputNorm, op.Fused{Bias: bias})
	f.Tap(TapQKV, qkv)
	if f.rows.Pack != nil && !rope.IsZero() {
		rope = f.rows.Pack.Gather(r, rope)
	}
	qNorm, kNorm := f.qkNorms()
	op.SplitQKV(r, q, k, v, qkv, rope, qNorm, kNorm, split)
	f.Tap(c.Operation(arch.Q), q)
	f.Tap(c.Operation(arch.K), k)
	f.Tap(c.Operation(arch.V), v)

	queries := f.rows.Window
	if last := f.rows.Last; !last.IsZero() { // the keys and values of all rows, the queries and what follows of the last
		all, kept := q, last.Cols
		queries = kept / (n / f.rows.Window)
		q, f.norm = Floats(s.qkv, kept, q.Cols), Floats(s.norm, kept, c.HiddenSize)
		op.GatherRows(r, q, 0, all, last)
		op.GatherRows(r, out, 0, x, last)
		x = out
	}
	o = q
	if s.o != nil {
		o = Floats(s.o, q.Rows, q.Cols)
	}
	f.attend(o, q, k, v, n, queries)
	return o, x
}

// attend records the attention of queries over the keys of n rows, or over those of the cache.
func (f *forward) attend(o, q, k, v op.Tensor, n, queries int) {
	c := f.Config
	if p := f.rows.Pack; p != nil {
		op.AttentionPacked(f.r, o, q, k, v, p.table, p.packing, packedShape(c, f.Layer))
		return
	}
	shape := f.attentionShape(n/f.rows.Window, queries, f.rows.Window)
	shape.Batch = f.batch
	if kv := f.rows.Cache; kv != nil {
		shape.KeyLen, shape.KeyStride = kv.Used+f.rows.Window, kv.Capacity
	}
	op.Attention(f.r, o, q, k, v, shape, op.AttentionExtra{Scratch: f.Scratch.Partial})
}

// attentionShape is how the layer's attention reads windows.
func (b Block) attentionShape(windows, queries, keys int) op.AttentionShape {
	shape := attentionShape(b.Config, b.Layer, windows, queries, keys)
	shape.Half = shape.Half && b.Weights[arch.O].DType != dtype.F32 // products of F32 weights round nothing, and nothing between them is rounded
	return shape
}

// attentionShape is how a layer's attention reads windows.
func attentionShape(c *arch.Config, layer, windows, queries, keys int) op.AttentionShape {
	return op.AttentionShape{Windows: windows, QueryLen: queries, KeyLen: keys, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, SlidingWindow: c.Window(layer),
		LogitOptions: op.LogitOptions{Scale: c.AttentionScale, Cap: c.AttentionCap}, Half: c.DType != dtype.F32}
}

// AttentionScratch is how many floats attention of the last rows of a sequence of so many keys needs, and of fewer: see Scratch.Partial. Of several
// sequences it needs what it needs of their rows in one.
func AttentionScratch(d *vk.Device, c *arch.Config, rows, keys int) int {
	most := 0
	for l := range c.Layers {
		for queries := 1; queries <= min(op.AttentionDecode, keys); queries++ {
			most = max(most, op.AttentionScratch(d, attentionShape(c, l, 1, queries, keys)))
		}
		most = max(most, op.AttentionScratch(d, attentionShape(c, l, 1, min(rows, keys), keys)))
	}
	return most
}

// activate records what down_proj reads, of norm(x).
func (f *forward) activate(x op.Tensor, norm arch.Role) {
	c, r, s, w := f.Config, f.r, f.Scratch, f.Weights
	if !f.MLP.IsZero() {
		f.Tap(TapMLP, f.MLP)
		return
	}
	mlp := Floats(s.mlp, x.Rows, c.IntermediateSize)
	normed := f.normed(norm, x)
	switch {
	case c.ReLU:
		f.project(mlp, x, w[arch.Up], norm, op.Fused{Bias: w[arch.UpBias]})
		f.Tap(c.Operation(arch.Up), mlp)
		op.ReLU(r, mlp, mlp)
	case s.up != nil:
		gate, up := mlp, Floats(s.up, x.Rows, mlp.Cols)
		if s.gate != nil {
			gate = Floats(s.gate, x.Rows, mlp.Cols)
		}
		f.project(gate, x, w[arch.Gate], norm, op.Fused{Bias: w[arch.GateBias]})
		f.project(up, x, w[arch.Up], norm, op.Fused{Bias: w[arch.UpBias]})
		op.SwiGLU(r, mlp, gate, up, c.GELU)
	default:
		f.alone(arch.Gate, mlp, normed, w[arch.GateBias])
		f.alone(arch.Up, mlp, normed, w[arch.UpBias])
		f.project(mlp, x, w[arch.Gate], norm, op.Fused{Bias: w[arch.GateBias], Up: w[arch.Up], UpBias: w[arch.UpBias]})
	}
	f.Tap(TapMLP, mlp)
}

// feed records out = mid + down_proj of what activate made.
func (f *forward) feed(out, mid op.Tensor) {
	c, s, w := f.Config, f.Scratch, f.Weights
	mlp := f.MLP
	if mlp.IsZero() {
		mlp = Floats(s.mlp, mid.Rows, c.IntermediateSize)
	}
	f.alone(arch.Down, f.norm, mlp, w[arch.DownBias])
	f.add(out, mid, mlp, arch.Down, arch.DownBias, arch.MLPNorm, s.fed)
	f.Tap(TapOut, out)
}

// RecordNorm records the model's kind of norm; bias is there where it has one.
func RecordNorm(r *vk.Recorder, c *arch.Config, y, x, weight, bias op.Tensor) {
	if c.LayerNorm {
		op.LayerNorm(r, y, x, weight, bias, float32(c.RMSNormEps))
		return
	}
	op.RMSNorm(r, y, x, weight, float32(c.RMSNormEps), op.NormOptions{PlusOne: c.NormPlusOne})
}

// LastShare is which part of a layer's multiplications, in windows of so many tokens, a run for the last tokens takes.
func LastShare(c *arch.Config, window int) float64 {
	q, kv, s, hidden := float64(c.Heads*c.HeadDim), float64(c.KVHeads*c.HeadDim), float64(window), float64(c.HiddenSize)
	mlp := 3.0
	if c.ReLU {
		mlp = 2
	}
	projections, rest := hidden*(q+2*kv), hidden*(q+mlp*float64(c.WidestMLP()))
	all := s*(projections+rest) + q*s*(s+1)
	return (s*projections + rest + 2*q*s) / all
}
