package ref

import (
	"math"
	"slices"
)

// Attention is causal grouped-query attention over one sequence: softmax(q·kᵀ/√headDim)·v, query head h with key/value
// head h/(heads/kvHeads). The queries are the last of the sequence: query i sits at position kvLen−qLen+i and sees the
// keys j ≤ its position; with window > 0 only those of position−window < j. Source: Ainslie et al. 2023, arXiv 2305.13245.
//
//	q [qLen, heads·headDim] · k, v [kvLen, kvHeads·headDim] · result [qLen, heads·headDim]
func Attention(q, k, v Mat, heads, kvHeads, headDim, window int) Mat {
	check(q.Cols == heads*headDim && k.Cols == kvHeads*headDim && k.shape() == v.shape() && heads%kvHeads == 0 && q.Rows <= k.Rows,
		"attention", q.shape(), k.shape(), v.shape(), heads, kvHeads, headDim)
	y := NewMat(q.Rows, q.Cols)
	scale := 1 / math.Sqrt(float64(headDim))
	for h := range heads {
		mine := sequence(h*headDim, headDim)
		shared := sequence(h/(heads/kvHeads)*headDim, headDim)
		queries, keys, values := GatherCols(q, mine), GatherCols(k, shared), GatherCols(v, shared)
		for i := range q.Rows {
			position := k.Rows - q.Rows + i
			first := 0
			if window > 0 {
				first = max(0, position-window+1)
			}
			visible := Mat{position + 1 - first, headDim, keys.Data[first*headDim : (position+1)*headDim]}
			p := Linear(Mat{1, headDim, queries.Row(i)}, visible, nil).Data
			view(p).Mul(view(p), scale)
			softmax(p)
			out := y.Row(i)[h*headDim : (h+1)*headDim]
			for j, weight := range p {
				for c, value := range values.Row(first + j) {
					out[c] += weight * value
				}
			}
		}
	}
	return y
}

// softmax replaces x by e^x / Σ e^x.
func softmax(x []float64) {
	top, sum := slices.Max(x), 0.0
	for i, v := range x {
		x[i] = math.Exp(v - top)
		sum += x[i]
	}
	view(x).Mul(view(x), 1/sum)
}
