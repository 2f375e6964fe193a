package ref

// AttentionBackward is the gradients of Σ do·Attention(q, k, v) by q, k and v: with P the softmax of a query, dP_j = do·v_j,
// dS_j = P_j·(dP_j − Σ_j P_j·dP_j), dq = Σ_j dS_j·k_j/√headDim, dk_j = Σ dS_j·q/√headDim and dv_j = Σ P_j·do over the queries of all
// heads that read key j. Source: Dao et al. 2022, arXiv 2205.14135, appendix B.
//
//	q, do, dq [qLen, heads·headDim] · k, v, dk, dv [kvLen, kvHeads·headDim]
func AttentionBackward(q, k, v, do Mat, heads, kvHeads, headDim, window int, o LogitOptions) (dq, dk, dv Mat) {
	check(q.Cols == heads*headDim && do.shape() == q.shape() && k.Cols == kvHeads*headDim && k.shape() == v.shape() &&
		heads%kvHeads == 0 && q.Rows <= k.Rows, "attention backward", q.shape(), do.shape(), k.shape(), v.shape(), heads, kvHeads, headDim)
	dq, dk, dv = NewMat(q.Rows, q.Cols), NewMat(k.Rows, k.Cols), NewMat(v.Rows, v.Cols)
	scale := o.scale(headDim)
	for h := range heads {
		of := func(m Mat, row, head int) []float64 { return m.Row(row)[head*headDim : (head+1)*headDim] }
		shared := h / (heads / kvHeads)
		for i := range q.Rows {
			position := k.Rows - q.Rows + i
			first := 0
			if window > 0 {
				first = max(0, position-window+1)
			}
			query, out := of(q, i, h), of(do, i, h)
			n := position + 1 - first
			p, dp, slope := make([]float64, n), make([]float64, n), make([]float64, n)
			for j := range p {
				p[j], slope[j] = o.capped(scale * view(query).Dot(view(of(k, first+j, shared))))
				dp[j] = view(out).Dot(view(of(v, first+j, shared)))
			}
			softmax(p)
			mean := view(p).Dot(view(dp))
			for j := range p {
				ds := scale * slope[j] * p[j] * (dp[j] - mean)
				for c := range headDim {
					of(dq, i, h)[c] += ds * of(k, first+j, shared)[c]
					of(dk, first+j, shared)[c] += ds * query[c]
					of(dv, first+j, shared)[c] += p[j] * out[c]
				}
			}
		}
	}
	return dq, dk, dv
}
