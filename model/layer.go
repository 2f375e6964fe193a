package model

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// scratch is the device memory that one decoder layer's activations for up to some number of tokens need.
type scratch struct {
	norm, q, k, v, gate, up, tmp *vk.Buffer
}

// scratchBytes is the size of the scratch for each token.
func (c *Config) scratchBytes() int64 {
	return 4 * int64(2*c.HiddenSize+c.Heads*c.HeadDim+2*c.KVHeads*c.HeadDim+2*c.IntermediateSize)
}

// newScratch allocates the activations of tokens tokens.
func newScratch(d *vk.Device, c *Config, tokens int) (s scratch, err error) {
	for _, b := range []struct {
		buf  **vk.Buffer
		name string
		cols int
	}{
		{&s.norm, "normed hidden states", c.HiddenSize}, {&s.tmp, "sublayer output", c.HiddenSize},
		{&s.q, "queries", c.Heads * c.HeadDim}, {&s.k, "keys", c.KVHeads * c.HeadDim}, {&s.v, "values", c.KVHeads * c.HeadDim},
		{&s.gate, "gate", c.IntermediateSize}, {&s.up, "up", c.IntermediateSize},
	} {
		if *b.buf, err = d.NewBuffer(b.name, 4*int64(tokens)*int64(b.cols), vk.OnDevice); err != nil {
			s.free(d)
			return scratch{}, err
		}
	}
	return s, nil
}

func (s *scratch) free(d *vk.Device) { d.Free(s.norm, s.q, s.k, s.v, s.gate, s.up, s.tmp) }

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
	last  op.Tensor                          // [1, windows·n]: rows of x, the last n of each window, that alone are wanted; zero: all
	probe func(name string, value op.Tensor) // sees what each operation made; nil: nobody
	guard func(value op.Tensor)              // sees queries and keys, whose NaNs attention may hide; nil: nobody
}

// forwardLayer is layerRun.record of one layer, all rows.
func forwardLayer(r *vk.Recorder, c *Config, layer int, w []op.Tensor, s *scratch, out, x, rope op.Tensor, window int, cache *kvCache) activations {
	return layerRun{cache: cache}.record(r, c, layer, w, s, out, x, rope, window)
}

// record records one decoder layer: out = layer(x) for x [windows·window, hidden], of windows independent sequences at
// positions from 0 on; with a cache, of one sequence that follows what the cache holds. With last, out has a row for each of its.
//
// rope holds the cosines and sines of op.RoPE for every position in use. x is not changed; out must be another tensor.
func (run layerRun) record(r *vk.Recorder, c *Config, layer int, w []op.Tensor, s *scratch, out, x, rope op.Tensor, window int) activations {
	n, eps, cache := x.Rows, float32(c.RMSNormEps), run.cache
	norm, tmp := rows(s.norm, n, c.HiddenSize), rows(s.tmp, n, c.HiddenSize)
	q, k, v := rows(s.q, n, c.Heads*c.HeadDim), rows(s.k, n, c.KVHeads*c.HeadDim), rows(s.v, n, c.KVHeads*c.HeadDim)
	probe := run.probe
	if probe == nil {
		probe = func(string, op.Tensor) {}
	}

	op.RMSNorm(r, norm, x, w[InputNorm], eps)
	probe("input_layernorm", norm)
	op.Linear(r, q, norm, w[Q], w[QBias])
	op.Linear(r, k, norm, w[K], w[KBias])
	op.Linear(r, v, norm, w[V], w[VBias])
	probe("self_attn.q_proj", q)
	probe("self_attn.k_proj", k)
	probe("self_attn.v_proj", v)
	if c.QKNorm {
		qHeads, kHeads := q.Reshape(n*c.Heads, c.HeadDim), k.Reshape(n*c.KVHeads, c.HeadDim)
		op.RMSNorm(r, qHeads, qHeads, w[QNorm], eps)
		op.RMSNorm(r, kHeads, kHeads, w[KNorm], eps)
	}
	shape := op.AttentionShape{Windows: n / window, QueryLen: window, KeyLen: window, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, SlidingWindow: c.Window(layer)}
	start := 0
	if cache != nil {
		start = cache.used
	}
	op.RoPE(r, q, rope, c.HeadDim, window, start)
	op.RoPE(r, k, rope, c.HeadDim, window, start)
	if run.guard != nil {
		run.guard(q)
		run.guard(k)
	}
	if cache != nil {
		at, size := int64(start)*k.RowBytes(), int64(n)*k.RowBytes()
		r.Copy(cache.k.View.Slice(at, size), k.View)
		r.Copy(cache.v.View.Slice(at, size), v.View)
		k, v = cache.k, cache.v
		shape.KeyLen, shape.KeyStride = start+window, cache.capacity
	}
	if !run.last.IsZero() { // the keys and values of all rows, the queries and what follows of the last
		all, kept := q, run.last.Cols
		shape.QueryLen = kept / shape.Windows
		q, norm, tmp = rows(s.gate, kept, q.Cols), rows(s.norm, kept, c.HiddenSize), rows(s.tmp, kept, c.HiddenSize)
		op.GatherRows(r, q, 0, all, run.last)
		op.GatherRows(r, out, 0, x, run.last)
		x, n = out, kept
	}
	op.Attention(r, q, q, k, v, shape)
	probe("self_attn", q)
	op.Linear(r, tmp, q, w[O], w[OBias])
	probe("self_attn.o_proj", tmp)
	op.Add(r, out, x, tmp)
	probe("residual after attention", out)

	gate, up := rows(s.gate, n, c.IntermediateSize), rows(s.up, n, c.IntermediateSize)
	op.RMSNorm(r, norm, out, w[PostNorm], eps)
	probe("post_attention_layernorm", norm)
	op.Linear(r, gate, norm, w[Gate], w[GateBias])
	op.Linear(r, up, norm, w[Up], w[UpBias])
	probe("mlp.gate_proj", gate)
	probe("mlp.up_proj", up)
	op.SwiGLU(r, gate, gate, up)
	probe("mlp activation", gate)
	op.Linear(r, tmp, gate, w[Down], w[DownBias])
	probe("mlp.down_proj", tmp)
	op.Add(r, out, out, tmp)
	probe("residual after mlp", out)
	return activations{Attention: q, MLP: gate}
}
