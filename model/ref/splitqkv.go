package ref

// SplitQKV takes apart the queries, keys and values that one product gave, norms each head of q and k, or the heads of each
// together, where there are weights for that, and turns them where there are angles.
//
//	qkv [tokens, (heads+2·kvHeads)·headDim] · positions [tokens] · freqs as of RoPE or nil · qNorm, kNorm [headDim], or [columns of q, k], or nil
//	results [tokens, heads·headDim], twice [tokens, kvHeads·headDim]
func SplitQKV(qkv Mat, heads, kvHeads, headDim int, positions []int, freqs []float64, interleaved bool, qNorm, kNorm []float64, eps float64) (q, k, v Mat) {
	check(qkv.Cols == (heads+2*kvHeads)*headDim, "splitqkv", qkv.shape(), heads, kvHeads, headDim)
	q = GatherCols(qkv, sequence(0, heads*headDim))
	k = GatherCols(qkv, sequence(heads*headDim, kvHeads*headDim))
	v = GatherCols(qkv, sequence((heads+kvHeads)*headDim, kvHeads*headDim))
	if qNorm != nil {
		q, k = HeadNorm(q, qNorm, len(qNorm), eps), HeadNorm(k, kNorm, len(kNorm), eps)
	}
	if freqs == nil {
		return q, k, v
	}
	return RoPE(q, headDim, positions, freqs, interleaved), RoPE(k, headDim, positions, freqs, interleaved), v
}
