package ref

import (
	"math"
	"slices"
)

// FusionRatio gives the share of each merged layer: r = BI^psu / Σ BI^psu (ALGORITHM §3). With floor m > 0 the largest
// share is at least m^(1/(originals−1)), originals being the number of layers of the unpruned model inside the group,
// and the others shrink in proportion. Influences that are all zero share equally.
func FusionRatio(bi []float64, psu, floor float64, originals int) []float64 {
	r := make([]float64, len(bi))
	sum := 0.0
	for i, b := range bi {
		r[i] = math.Pow(b, psu)
		sum += r[i]
	}
	for i := range r {
		r[i] /= sum
		if sum == 0 {
			r[i] = 1 / float64(len(r))
		}
	}
	largest := argmax(r)
	least := math.Pow(floor, 1/float64(originals-1))
	if before := r[largest]; floor > 0 && before < least {
		for i := range r {
			r[i] *= (1 - least) / (1 - before)
		}
		r[largest] = least
	}
	return r
}

// Counts shares n units out: ⌊n·r⌋ each, and the remainder to the layer of the largest ratio, the first among equals.
func Counts(ratio []float64, n int) []int {
	counts := make([]int, len(ratio))
	rest := n
	for i, r := range ratio {
		counts[i] = int(float64(n) * r)
		rest -= counts[i]
	}
	counts[argmax(ratio)] += rest
	return counts
}

// Top gives the indices of the n largest scores, ascending; among equals the lower index wins.
func Top(scores []float64, n int) []int {
	order := sequence(0, len(scores))
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return 0
	})
	top := order[:n]
	slices.Sort(top)
	return top
}

// Merge joins layers into one by concatenation (ALGORITHM §4): from layers[i] the key/value heads kvHeads[i] with their
// query heads, and the FFN neurons units[i], or the experts with their rows of the router, each in ascending order. What cannot be concatenated is averaged: the
// weights and biases of norms plainly, q and k norms of heads and the biases of the output and down projections by ratio.
//
// The query heads of KV head k are k·g..k·g+g−1. tiledMask takes instead those h with h mod kvHeads among the kept, as
// the authors' released code does.
func Merge(c Config, layers []Layer, kvHeads, units [][]int, ratio []float64, tiledMask bool) Layer {
	var queryRows, kvRows [][]int // of each layer's q and of its k and v
	for _, kept := range kvHeads {
		queryRows = append(queryRows, channels(queryHeads(c, kept, tiledMask), c.HeadDim))
		kvRows = append(kvRows, channels(kept, c.HeadDim))
	}
	equal := make([]float64, len(layers))
	for i := range equal {
		equal[i] = 1 / float64(len(layers))
	}

	matrix := func(of func(*Layer) Mat, pick [][]int, gather func(Mat, []int) Mat, concat func(...Mat) Mat) Mat {
		if of(&layers[0]).Rows == 0 {
			return Mat{} // no Gate
		}
		parts := make([]Mat, len(layers))
		for i := range layers {
			parts[i] = gather(of(&layers[i]), pick[i])
		}
		return concat(parts...)
	}
	rows := func(of func(*Layer) Mat, pick [][]int) Mat { return matrix(of, pick, GatherRows, ConcatRows) }
	cols := func(of func(*Layer) Mat, pick [][]int) Mat { return matrix(of, pick, GatherCols, ConcatCols) }
	bias := func(of func(*Layer) []float64, pick [][]int) []float64 { // of as many elements as the matrix has rows
		if of(&layers[0]) == nil {
			return nil
		}
		return rows(func(l *Layer) Mat { return Mat{len(of(l)), 1, of(l)} }, pick).Data
	}
	blend := func(of func(*Layer) []float64, shares []float64) []float64 {
		if of(&layers[0]) == nil {
			return nil
		}
		parts := make([]Mat, len(layers))
		for i := range layers {
			parts[i] = Mat{1, len(of(&layers[i])), of(&layers[i])}
		}
		return WeightedSum(parts, shares).Data
	}

	neurons, downRows := units, [][]int(nil) // rows of the gate and of up, and of experts' down
	if n := layers[0].Router.Rows; n > 0 {
		neurons = nil
		for _, experts := range units {
			neurons, downRows = append(neurons, channels(experts, layers[0].Up.Rows/n)), append(downRows, channels(experts, c.Hidden))
		}
	}
	down := func() Mat {
		if downRows != nil {
			return rows(func(l *Layer) Mat { return l.Down }, downRows)
		}
		return cols(func(l *Layer) Mat { return l.Down }, neurons)
	}
	// Weights for the channels of all heads go with their heads.
	headNorm := func(of func(*Layer) []float64, pick [][]int) []float64 {
		if c.RowNorm {
			return bias(of, pick)
		}
		return blend(of, ratio)
	}

	return Layer{
		Router:        rows(func(l *Layer) Mat { return l.Router }, units),
		InputNorm:     blend(func(l *Layer) []float64 { return l.InputNorm }, equal),
		PostNorm:      blend(func(l *Layer) []float64 { return l.PostNorm }, equal),
		InputNormBias: blend(func(l *Layer) []float64 { return l.InputNormBias }, equal),
		PostNormBias:  blend(func(l *Layer) []float64 { return l.PostNormBias }, equal),
		Q:             rows(func(l *Layer) Mat { return l.Q }, queryRows),
		K:             rows(func(l *Layer) Mat { return l.K }, kvRows),
		V:             rows(func(l *Layer) Mat { return l.V }, kvRows),
		O:             cols(func(l *Layer) Mat { return l.O }, queryRows),
		QBias:         bias(func(l *Layer) []float64 { return l.QBias }, queryRows),
		KBias:         bias(func(l *Layer) []float64 { return l.KBias }, kvRows),
		VBias:         bias(func(l *Layer) []float64 { return l.VBias }, kvRows),
		OBias:         blend(func(l *Layer) []float64 { return l.OBias }, ratio),
		QNorm:         headNorm(func(l *Layer) []float64 { return l.QNorm }, queryRows),
		KNorm:         headNorm(func(l *Layer) []float64 { return l.KNorm }, kvRows),
		AttentionNorm: blend(func(l *Layer) []float64 { return l.AttentionNorm }, equal),
		FFNNorm:       blend(func(l *Layer) []float64 { return l.FFNNorm }, equal),
		Gate:          rows(func(l *Layer) Mat { return l.Gate }, neurons),
		Up:            rows(func(l *Layer) Mat { return l.Up }, neurons),
		Down:          down(),
		GateBias:      bias(func(l *Layer) []float64 { return l.GateBias }, neurons),
		UpBias:        bias(func(l *Layer) []float64 { return l.UpBias }, neurons),
		DownBias:      blend(func(l *Layer) []float64 { return l.DownBias }, ratio),
		Window:        layers[0].Window,
		NoRope:        layers[0].NoRope,
		Local:         layers[0].Local,
	}
}

// queryHeads gives the query heads that go with the key/value heads kept.
func queryHeads(c Config, kept []int, tiledMask bool) []int {
	var heads []int
	for h := range c.Heads {
		kv := h / c.Group()
		if tiledMask {
			kv = h % c.KVHeads
		}
		if slices.Contains(kept, kv) {
			heads = append(heads, h)
		}
	}
	return heads
}

// channels gives the size channels of every head, head after head.
func channels(heads []int, size int) []int {
	var all []int
	for _, h := range heads {
		all = append(all, sequence(h*size, size)...)
	}
	return all
}

// sequence is first, first+1, …: n numbers.
func sequence(first, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = first + i
	}
	return s
}
