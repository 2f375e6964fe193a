package ref

import "math"

// AbsSum gives Σ_t |x[t,j]| for every column j.
//
//	x [tokens, features] · result [features]
func AbsSum(x Mat) []float64 {
	sum := make([]float64, x.Cols)
	for t := range x.Rows {
		for j, v := range x.Row(t) {
			sum[j] += math.Abs(v)
		}
	}
	return sum
}

// SquareSum gives Σ_t x[t,j]² for every column j.
//
//	x [tokens, features] · result [features]
func SquareSum(x Mat) []float64 {
	sum := make([]float64, x.Cols)
	for t := range x.Rows {
		for j, v := range x.Row(t) {
			sum[j] += v * v
		}
	}
	return sum
}

// ColumnAbsSum gives Σ_i |w[i,j]| for every column j of a weight: AbsSum by another name, kept apart because the one
// sums over tokens and the other over outputs.
//
//	w [out, in] · result [in]
func ColumnAbsSum(w Mat) []float64 { return AbsSum(w) }

// NeuronSensitivity gives mean_t |a[t,j]| · Σ_i |wDown[i,j]| for every FFN neuron j.
//
//	a [tokens, ffn], what enters the down projection · wDown [hidden, ffn] · result [ffn]
func NeuronSensitivity(a, wDown Mat) []float64 {
	return channelSensitivity(AbsSum(a), a.Rows, wDown)
}

// HeadGroupSensitivity gives, for every key/value head, the mean of |o[t,c]| · Σ_i |wO[i,c]| over the tokens, the group
// query heads that share it (consecutive ones) and their headDim channels.
//
//	o [tokens, kvHeads·group·headDim], what enters the output projection · wO [hidden, kvHeads·group·headDim] · result [kvHeads]
func HeadGroupSensitivity(o, wO Mat, kvHeads, group, headDim int) []float64 {
	check(o.Cols == kvHeads*group*headDim, "head group sensitivity", o.shape(), kvHeads, group, headDim)
	return groupMeans(channelSensitivity(AbsSum(o), o.Rows, wO), kvHeads)
}

// channelSensitivity is absSum[j]/tokens · Σ_i |w[i,j]|: the sums of several windows may be added before.
func channelSensitivity(absSum []float64, tokens int, w Mat) []float64 {
	check(len(absSum) == w.Cols, "sensitivity", len(absSum), w.shape())
	s := ColumnAbsSum(w)
	for j := range s {
		s[j] *= absSum[j] / float64(tokens)
	}
	return s
}

// groupMeans cuts x into n runs of equal length and gives the mean of each.
func groupMeans(x []float64, n int) []float64 {
	means, run := make([]float64, n), len(x)/n
	for i, v := range x {
		means[i/run] += v / float64(run)
	}
	return means
}
