package generate

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Sampling says how the next token is chosen. The zero value is greedy.
type Sampling struct {
	Temperature float64 // 0 takes the most likely token
	TopK        int     // keep the k most likely; 0 keeps all
	TopP        float64 // keep the fewest whose probability reaches p; 0 or 1 keeps all
}

// Next chooses a token from logits. The same logits and state of rng give the same token.
func (s Sampling) Next(logits []float32, rng *rand.Rand) uint32 {
	type candidate struct {
		token uint32
		p     float64
	}
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	if s.Temperature <= 0 {
		return uint32(best)
	}
	all := make([]candidate, len(logits))
	for i, v := range logits {
		all[i] = candidate{uint32(i), math.Exp(float64(v-logits[best]) / s.Temperature)}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.p, a.p) })
	if s.TopK > 0 {
		all = all[:min(s.TopK, len(all))]
	}
	total := 0.0
	for _, c := range all {
		total += c.p
	}
	if s.TopP > 0 && s.TopP < 1 {
		sum := 0.0
		for i, c := range all {
			if sum += c.p; sum >= s.TopP*total {
				all, total = all[:i+1], sum
				break
			}
		}
	}
	at := rng.Float64() * total
	for _, c := range all {
		if at -= c.p; at < 0 {
			return c.token
		}
	}
	return all[len(all)-1].token
}
