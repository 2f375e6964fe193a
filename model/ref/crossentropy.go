package ref

import (
	"math"
	"slices"
)

// CrossEntropy gives −log softmax(logits[t])[targets[t]] for every token; 0 where the target is negative.
//
//	logits [tokens, vocab] · targets [tokens] · result [tokens]
func CrossEntropy(logits Mat, targets []int) []float64 {
	check(len(targets) == logits.Rows, "crossentropy", logits.shape(), len(targets))
	nll := make([]float64, len(targets))
	for t, target := range targets {
		if target >= 0 {
			nll[t] = logSumExp(logits.Row(t)) - logits.Row(t)[target]
		}
	}
	return nll
}

func logSumExp(x []float64) float64 {
	top := slices.Max(x)
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}
