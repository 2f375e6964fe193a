package model

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// scratch is the device memory that one decoder layer's activations for up to some number of tokens need.
type scratch struct {
	norm, qkv, q, k, v, mlp *vk.Buffer
}

// scratchBytes is the size of the scratch for each token.
func (c *Config) scratchBytes() int64 {
	return 4 * int64(c.HiddenSize+2*c.qkvCols()+c.IntermediateSize)
}

// qkvCols is the columns of queries, keys and values together.
func (c *Config) qkvCols() int { return (c.Heads + 2*c.KVHeads) * c.HeadDim }

// newScratch allocates the activations of tokens tokens.
func newScratch(d *vk.Device, c *Config, tokens int) (s scratch, err error) {
	for _, b := range []struct {
		buf  **vk.Buffer
		name string
		cols int
	}{
		{&s.norm, "normed hidden states", c.HiddenSize}, {&s.qkv, "queries, keys and values", c.qkvCols()}, {&s.q, "queries", c.Heads * c.HeadDim},
		{&s.k, "keys", c.KVHeads * c.HeadDim}, {&s.v, "values", c.KVHeads * c.HeadDim}, {&s.mlp, "MLP activations", c.IntermediateSize},
	} {
		if *b.buf, err = d.NewBuffer(b.name, 4*int64(tokens)*int64(b.cols), vk.OnDevice); err != nil {
			s.free(d)
			return scratch{}, err
		}
	}
	return s, nil
}

func (s *scratch) free(d *vk.Device) { d.Free(s.norm, s.qkv, s.q, s.k, s.v, s.mlp) }

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

// forwardLayer records one decoder layer: out = layer(x) for x [windows·window, hidden], of windows independent sequences at
// positions from 0 on; with a cache, of one sequence that follows what the cache holds.
//
// rope holds the cosines and sines of op.RoPE for every position in use. x is not changed; out must be another tensor.
func forwardLayer(r *vk.Recorder, c *Config, layer int, w []op.Tensor, s *scratch, out, x, rope op.Tensor, window int, cache *kvCache) activations {
	n, eps := x.Rows, float32(c.RMSNormEps)
	norm, qkv := rows(s.norm, n, c.HiddenSize), rows(s.qkv, n, c.qkvCols())
	q, k, v := rows(s.q, n, c.Heads*c.HeadDim), rows(s.k, n, c.KVHeads*c.HeadDim), rows(s.v, n, c.KVHeads*c.HeadDim)
	mlp := rows(s.mlp, n, c.IntermediateSize)
	split := op.QKVShape{Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Window: window, Eps: eps}
	shape := op.AttentionShape{Windows: n / window, QueryLen: window, KeyLen: window, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, SlidingWindow: c.Window(layer)}
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

	op.LinearFused(r, qkv, x, op.Joined(w[Q], w[K], w[V]), op.Fused{Bias: bias, Norm: w[InputNorm], Eps: eps, Scratch: norm})
	op.SplitQKV(r, q, k, v, qkv, rope, w[QNorm], w[KNorm], split)
	op.Attention(r, q, q, k, v, shape, op.AttentionExtra{})
	op.LinearFused(r, out, q, w[O], op.Fused{Bias: w[OBias], Residual: x})
	op.LinearFused(r, mlp, out, w[Gate], op.Fused{Bias: w[GateBias], Up: w[Up], UpBias: w[UpBias], Norm: w[PostNorm], Eps: eps, Scratch: norm})
	op.LinearFused(r, out, mlp, w[Down], op.Fused{Bias: w[DownBias], Residual: out})
	return activations{Attention: q, MLP: mlp}
}
