package ref

import (
	"cmp"
	"math"
	"slices"
)

// GramOperand gives sqrt(w[t])·x[t,i] for every block of at most `block` tokens of every window, as columns, tokens of small weights first: block b
// is rows [b·inputs, (b+1)·inputs), with zeros behind its tokens. With inputs = x.Cols + 1 a column of ones comes last.
//
//	x [tokens, cols] · w [tokens] · result [blocks·inputs, depth]
func GramOperand(x Mat, w []float64, inputs, window, block, depth int) Mat {
	check(len(w) == x.Rows && x.Rows%window == 0 && depth >= min(block, window), "gramoperand", x.shape(), len(w), window, block, depth)
	var data []float64
	for begin := 0; begin < x.Rows; begin += window {
		for from := begin; from < begin+window; from += block {
			order := make([]int, min(block, begin+window-from))
			for k := range order {
				order[k] = from + k
			}
			slices.SortStableFunc(order, func(s, t int) int { return cmp.Compare(w[s], w[t]) })
			for i := range inputs {
				row := make([]float64, depth)
				for k, t := range order {
					v := 1.0
					if i < x.Cols {
						v = x.At(t, i)
					}
					row[k] = math.Sqrt(w[t]) * v
				}
				data = append(data, row...)
			}
		}
	}
	return Mat{len(data) / depth, depth, data}
}
