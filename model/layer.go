package model

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// scratch is the device memory that one decoder layer's activations for up to some number of tokens need.
type scratch struct {
	norm, qkv, q, k, v, mlp *vk.Buffer
	spare                   *vk.Buffer // where products put their input in another form; nil where none does
	partial                 op.Tensor  // what attention over many keys needs; absent in passes over a corpus

	// What a backward pass wants besides: nil where there is none, and its place is in a buffer above.
	o        *vk.Buffer // of attention, in place of q
	mid      *vk.Buffer // the residual stream between attention and MLP, in place of the layer's output
	gate, up *vk.Buffer // what SwiGLU is of, which is then a dispatch of its own
}

// scratchBytes is the size of the scratch on a device for each token.
func (c *Config) scratchBytes(d *vk.Device) int64 {
	return 4 * columns(new(scratch).list(d, c))
}

// spareCols is the widest input of a product that has no norm before it, where a device's products are faster with scratch for it.
func (c *Config) spareCols(d *vk.Device) int {
	if !op.LinearScratch(d, c.DType) {
		return 0
	}
	most := max(c.Heads*c.HeadDim, c.IntermediateSize)
	if c.LayerNorm {
		most = max(most, c.HiddenSize) // products do not take the mean away themselves
	}
	return most
}

// qkvCols is the columns of queries, keys and values together.
func (c *Config) qkvCols() int { return (c.Heads + 2*c.KVHeads) * c.HeadDim }

// newScratch allocates the activations of tokens tokens.
func newScratch(d *vk.Device, c *Config, tokens int) (s scratch, err error) {
	err = allocate(d, tokens, s.list(d, c))
	return s, err
}

// buffer is one that holds cols floats for each token; with 0 it is not there.
type buffer struct {
	buf  **vk.Buffer
	name string
	cols int
}

// list is the buffers of a forward pass.
func (s *scratch) list(d *vk.Device, c *Config) []buffer {
	return []buffer{
		{&s.norm, "normed hidden states", c.HiddenSize}, {&s.qkv, "queries, keys and values", c.qkvCols()}, {&s.q, "queries", c.Heads * c.HeadDim},
		{&s.k, "keys", c.KVHeads * c.HeadDim}, {&s.v, "values", c.KVHeads * c.HeadDim}, {&s.mlp, "MLP activations", c.IntermediateSize},
		{&s.spare, "input of a product", c.spareCols(d)},
	}
}

// allocate makes buffers for so many tokens, or none of them.
func allocate(d *vk.Device, tokens int, list []buffer) (err error) {
	for _, b := range list {
		if b.cols == 0 {
			continue
		}
		if *b.buf, err = d.NewBuffer(b.name, 4*int64(tokens)*int64(b.cols), vk.OnDevice); err != nil {
			free(d, list)
			return err
		}
	}
	return nil
}

func free(d *vk.Device, list []buffer) {
	for _, b := range list {
		d.Free(*b.buf)
		*b.buf = nil
	}
}

// columns is how many floats a token takes in buffers.
func columns(list []buffer) (n int64) {
	for _, b := range list {
		n += int64(b.cols)
	}
	return n
}

func (s *scratch) free(d *vk.Device) { free(d, s.list(d, new(Config))) }

func rows(b *vk.Buffer, n, cols int) op.Tensor { return op.Of(b.All(), dtype.F32, n, cols) }

// kvCache is where one layer's keys and values of earlier positions are kept: capacity rows, of which used are filled.
type kvCache struct {
	k, v           op.Tensor
	capacity, used int
}

// activations are what a layer's forward pass leaves in its scratch for those who score it.
type activations struct {
	Attention op.Tensor // [tokens, heads·head_dim], what o_proj reads
	MLP       op.Tensor // [tokens, intermediate], what down_proj reads
}

// layerRun is a layer's forward pass besides its tensors. The zero value is all of it, of sequences from their first token on.
type layerRun struct {
	cache *kvCache                           // continue one sequence
	pack  *devicePack                        // x is sequences that share what they begin with
	last  op.Tensor                          // [1, windows·n]: rows of x, the last n of each window, that alone are wanted; zero: all
	probe func(name string, value op.Tensor) // sees what each operation made; nil: nobody
	guard func(value op.Tensor)              // sees queries, keys and values, whose NaNs attention may hide; nil: nobody
}

// record records one decoder layer: out = layer(x) for x [windows·window, hidden], of windows independent sequences at
// positions from 0 on; with a cache, of one sequence that follows what the cache holds. With last, out has a row for each of its.
//
// rope holds the cosines and sines of op.RoPE for every position in use, and is absent where positions are learned. x is not changed; out must be another tensor.
func (run layerRun) record(r *vk.Recorder, c *Config, layer int, w []op.Tensor, s *scratch, out, x, rope op.Tensor, window int) activations {
	n, eps, cache := x.Rows, float32(c.RMSNormEps), run.cache
	norm, qkv := rows(s.norm, n, c.HiddenSize), rows(s.qkv, n, c.qkvCols())
	q, k, v := rows(s.q, n, c.Heads*c.HeadDim), rows(s.k, n, c.KVHeads*c.HeadDim), rows(s.v, n, c.KVHeads*c.HeadDim)
	batch := cache == nil // the same bits, however a corpus is cut
	split := op.QKVShape{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Window: window, Eps: eps}
	shape := op.AttentionShape{Windows: n / window, QueryLen: window, KeyLen: window, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, SlidingWindow: c.Window(layer), Batch: batch}
	if cache != nil {
		k, v = cache.k, cache.v
		split.Start, split.Row = cache.used, cache.used
		shape.KeyLen, shape.KeyStride = cache.used+window, cache.capacity
	}
	bias := w[QBias]
	if !bias.IsZero() {
		column := func(t op.Tensor) op.Tensor { return t.Reshape(t.Cols, 1) }
		bias = op.Joined(column(bias), column(w[KBias]), column(w[VBias]))
		bias = bias.Reshape(1, bias.Rows)
	}
	if run.pack != nil {
		split.Window = n
	}
	spare := func(x op.Tensor) op.Tensor {
		if s.spare == nil {
			return op.Tensor{}
		}
		return rows(s.spare, x.Rows, x.Cols)
	}
	probe := run.probe
	// alone probes a product without what is fused with it.
	alone := func(name string, y, x, w, bias op.Tensor) {
		if run.probe != nil {
			op.LinearFused(r, y, x, w, op.Fused{Bias: bias, Scratch: spare(x), Batch: batch})
			probe(name, y)
		}
	}
	normed := func(x op.Tensor, weight Part) {
		if run.probe != nil {
			c.recordNorm(r, norm, x, w[weight], w[weight+1])
			probe(c.operation(weight), norm)
		}
	}
	// project is a product of what a norm makes of x.
	project := func(y, x, weight op.Tensor, of Part, f op.Fused) {
		f.Batch = batch
		if c.LayerNorm {
			c.recordNorm(r, norm, x, w[of], w[of+1])
			x, f.Scratch = norm, spare(norm)
		} else {
			f.Norm, f.Eps, f.Scratch = w[of], eps, norm
		}
		op.LinearFused(r, y, x, weight, f)
	}
	if probe == nil {
		probe = func(string, op.Tensor) {}
	}

	normed(x, InputNorm)
	project(qkv, x, op.Joined(w[Q], w[K], w[V]), InputNorm, op.Fused{Bias: bias})
	if run.guard != nil {
		run.guard(qkv)
	}
	if run.pack != nil && !rope.IsZero() {
		rope = run.pack.gather(r, rope)
	}
	op.SplitQKV(r, q, k, v, qkv, rope, w[QNorm], w[KNorm], split)
	probe(c.operation(Q), q)
	probe(c.operation(K), k)
	probe(c.operation(V), v)
	if !run.last.IsZero() { // the keys and values of all rows, the queries and what follows of the last
		all, kept := q, run.last.Cols
		shape.QueryLen = kept / shape.Windows
		q, norm = rows(s.qkv, kept, q.Cols), rows(s.norm, kept, c.HiddenSize)
		op.GatherRows(r, q, 0, all, run.last)
		op.GatherRows(r, out, 0, x, run.last)
		x, n = out, kept
	}
	o, mid := q, out
	if s.o != nil {
		o, mid = rows(s.o, n, q.Cols), rows(s.mid, n, c.HiddenSize)
	}
	if p := run.pack; p != nil {
		op.AttentionPacked(r, o, q, k, v, p.table, p.packing, c.packedShape(layer))
	} else {
		op.Attention(r, o, q, k, v, shape, op.AttentionExtra{Scratch: s.partial})
	}
	probe("self_attn", o)
	alone(c.operation(O), norm, o, w[O], w[OBias])
	op.LinearFused(r, mid, o, w[O], op.Fused{Bias: w[OBias], Residual: x, Scratch: spare(o), Batch: batch})
	probe("residual after attention", mid)

	mlp := rows(s.mlp, n, c.IntermediateSize)
	normed(mid, PostNorm)
	switch {
	case c.ReLU:
		project(mlp, mid, w[Up], PostNorm, op.Fused{Bias: w[UpBias]})
		probe(c.operation(Up), mlp)
		op.ReLU(r, mlp, mlp)
	case s.gate != nil:
		gate, up := rows(s.gate, n, mlp.Cols), rows(s.up, n, mlp.Cols)
		project(gate, mid, w[Gate], PostNorm, op.Fused{Bias: w[GateBias]})
		project(up, mid, w[Up], PostNorm, op.Fused{Bias: w[UpBias]})
		op.SwiGLU(r, mlp, gate, up)
	default:
		alone(c.operation(Gate), mlp, norm, w[Gate], w[GateBias])
		alone(c.operation(Up), mlp, norm, w[Up], w[UpBias])
		project(mlp, mid, w[Gate], PostNorm, op.Fused{Bias: w[GateBias], Up: w[Up], UpBias: w[UpBias]})
	}
	probe("mlp activation", mlp)
	alone(c.operation(Down), norm, mlp, w[Down], w[DownBias])
	op.LinearFused(r, out, mlp, w[Down], op.Fused{Bias: w[DownBias], Residual: mid, Scratch: spare(mlp), Batch: batch})
	probe("residual after mlp", out)
	return activations{Attention: o, MLP: mlp}
}

// recordNorm records the model's kind of norm; bias is there where it has one.
func (c *Config) recordNorm(r *vk.Recorder, y, x, weight, bias op.Tensor) {
	if c.LayerNorm {
		op.LayerNorm(r, y, x, weight, bias, float32(c.RMSNormEps))
		return
	}
	op.RMSNorm(r, y, x, weight, float32(c.RMSNormEps))
}
