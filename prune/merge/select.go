// Package merge joins decoder layers into one: which units of each layer stay, and the concatenation on the device. Source: CoMe,
// arXiv 2510.15304.
package merge

import (
	"cmp"
	"math"
	"slices"
)

// Ratio is the share of each merged layer, bi^power / Σ bi^power. With a floor in (0, 1] the largest share is raised to at least
// floor^(1/(originals−1)), originals being the number of layers of the unpruned model inside the group, and the others shrink in
// proportion.
func Ratio(bi []float64, power, floor float64, originals int) []float64 {
	share, total := make([]float64, len(bi)), 0.0
	for i, v := range bi {
		share[i] = math.Pow(v, power)
		total += share[i]
	}
	for i := range share {
		if total > 0 {
			share[i] /= total
		} else {
			share[i] = 1 / float64(len(share))
		}
	}
	top := largest(share)
	if least := math.Pow(floor, 1/float64(originals-1)); floor > 0 && share[top] < least {
		shrink := (1 - least) / (1 - share[top])
		for i := range share {
			share[i] *= shrink
		}
		share[top] = least
	}
	return share
}

// Counts is how many of n units each layer keeps: ⌊n·ratio⌋, and what is left goes to the layer of the largest ratio.
func Counts(ratio []float64, n int) []int {
	counts, left := make([]int, len(ratio)), n
	for i, r := range ratio {
		counts[i] = int(math.Floor(float64(n) * r))
		left -= counts[i]
	}
	counts[largest(ratio)] += left
	return counts
}

func largest(v []float64) int {
	top := 0
	for i := range v {
		if v[i] > v[top] {
			top = i
		}
	}
	return top
}

// Top is the indices of the n largest scores in ascending order; of equals the lower index stays.
func Top(scores []float64, n int) []int {
	index := make([]int, len(scores))
	for i := range index {
		index[i] = i
	}
	slices.SortStableFunc(index, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	index = index[:n]
	slices.Sort(index)
	return index
}

// Kept is what a merged layer takes from one of its sources, in ascending order.
type Kept struct {
	KVHeads []int `json:"kv_heads"`
	Neurons []int `json:"neurons"`           // of a dense MLP
	Experts []int `json:"experts,omitempty"` // of a mixture
}

// Keep chooses for each layer its share of the KV heads, and of the units of its MLP, by their sensitivities: of FFN neurons, or of experts
// where sparse says so.
func Keep(ratio []float64, heads, units [][]float64, sparse bool) []Kept {
	kept := make([]Kept, len(ratio))
	headCounts, unitCounts := Counts(ratio, len(heads[0])), Counts(ratio, len(units[0]))
	for i := range kept {
		kept[i] = Kept{KVHeads: Top(heads[i], headCounts[i]), Neurons: []int{}}
		if top := Top(units[i], unitCounts[i]); sparse {
			kept[i].Experts = top
		} else {
			kept[i].Neurons = top
		}
	}
	return kept
}
