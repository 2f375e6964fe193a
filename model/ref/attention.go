package ref

import (
	"math"
	"slices"
)

// LogitOptions are what becomes of the products of queries and keys. The zero value is 1/√headDim times these.
type LogitOptions struct {
	Scale float64 // that they are multiplied by; 0 is 1/√headDim
	Cap   float64 // they become Cap·tanh(these/Cap) after that, as in Gemma 2, arXiv 2408.00118; 0: they do not
}

// scale is the factor.
func (o LogitOptions) scale(headDim int) float64 {
	if o.Scale == 0 {
		return 1 / math.Sqrt(float64(headDim))
	}
	return o.Scale
}

// capped gives what becomes of a scaled product, and the derivative of that.
func (o LogitOptions) capped(x float64) (y, slope float64) {
	if o.Cap == 0 {
		return x, 1
	}
	t := math.Tanh(x / o.Cap)
	return o.Cap * t, 1 - t*t
}

// Attention is causal grouped-query attention over one sequence: softmax(q·kᵀ/√headDim)·v, query head h with key/value
// head h/(heads/kvHeads). The queries are the last of the sequence: query i sits at position kvLen−qLen+i and sees the
// keys j ≤ its position; with window > 0 only those of position−window < j. o says what is done otherwise. Source: Ainslie et al. 2023, arXiv 2305.13245.
//
//	q [qLen, heads·headDim] · k, v [kvLen, kvHeads·headDim] · result [qLen, heads·headDim]
func Attention(q, k, v Mat, heads, kvHeads, headDim, window int, o LogitOptions) Mat {
	check(q.Cols == heads*headDim && k.Cols == kvHeads*headDim && k.shape() == v.shape() && heads%kvHeads == 0 && q.Rows <= k.Rows,
		"attention", q.shape(), k.shape(), v.shape(), heads, kvHeads, headDim)
	y := NewMat(q.Rows, q.Cols)
	scale := o.scale(headDim)
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
			for j := range p {
				p[j], _ = o.capped(scale * p[j])
			}
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
