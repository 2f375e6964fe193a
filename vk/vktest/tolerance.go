package vktest

import "testing"

// tolerances holds the bound of every operation, with its reason. Weights are rounded to their dtype before both sides compute, so
// the dtype matters only where results are rounded to it.
var tolerances = map[string]float64{
	"model loss":          1e-4, // a few layers of f32 arithmetic; the loss itself is a difference of numbers of its size
	"model logits":        1e-4, // the same
	"model logits of f16": 5e-3, // activations of a few layers rounded to 11 bits where linear takes cooperative matrices
	"model scores":        1e-4, // the same, of cosines that lie near each other
	"model scores of f16": 5e-3, // as logits of f16
	"linear":              2e-5, // additions in the order of k, a random walk: 2^-25·sqrt(K/2) for a standard deviation, 5e-6 at K = 56,000
	"linear_bwd":          2e-5, // as linear
	"linear of f16":       2e-3, // x rounded to 11 bits: 2^-12 of it in the mean, 2^-12 of y's deviation, and 5 times that among 10^6; twice with SwiGLU
	"tohalf":              5e-4, // half a unit of 11 bits, 2^-11 at most where the significand is 1, and a rounding of the norm
	"rmsnorm":             2e-6, // a few f32 roundings and the driver's inversesqrt (2 ulp)
	"layernorm":           5e-6, // rmsnorm, and the roundings of a mean of 10 deviations
	"crossentropy":        5e-6, // exp of f32 (3 + 2|x| ulp in Vulkan) and f32 logits; log within 2^-21
	"add":                 1e-7, // one f32 rounding
	"swiglu":              5e-6, // exp of f32 (3 + 2|z| ulp in Vulkan) and a division (2.5 ulp)
	"rope":                3e-7, // three f32 roundings, and that of the cosines and sines
	"splitqkv":            2e-6, // rmsnorm, then rope
	"attention":           2e-5, // f32 dot products, exp2 (3 + 2|x| ulp in Vulkan), and sums over up to 32,768 keys that nearly cancel
	"attention_bwd":       2e-5, // attention, with probabilities made again from their logits and the sum, and differences of sums
	"abssum":              1e-6, // some hundred f32 additions in a row, their roundings random
	"sensitivity":         3e-6, // two abssums and a sum of their products
	"blockinfluence":      3e-6, // twice the relative error of the difference of two f32 directions, for angles from 0.003 on
	"angulardistance":     2e-6, // half of blockinfluence's, a polynomial of 2e-7 and sqrt
	"weightedsum":         5e-7, // a rounding for each product and each sum
	"random":              2e-7, // two f32 roundings
	"columnsum":           2e-6, // abssum, of terms that nearly cancel: the partial sums are as large as the result's deviation
	"embedding_bwd":       2e-5, // f32 additions one by one: 2^-25·sqrt(n/2) of the sum's deviation as a random walk, 4e-6 at n = 35,000, and 5 times that
	"rmsnorm_bwd":         3e-6, // rmsnorm, a second sum over the row, and the difference of two terms of the result's size
	"layernorm_bwd":       5e-6, // layernorm's mean, two more sums over the row, and a difference as in rmsnorm_bwd
	"swiglu_bwd":          5e-6, // exp of f32 (3 + 2|z| ulp in Vulkan) and a division (2.5 ulp)
	"mse":                 2e-6, // a difference, a square and 2^-25·sqrt(cols/2) of their sum
	"cosineloss":          5e-6, // blockinfluence's, and of gradients the roundings of a difference of directions 0.2 apart
	"kl":                  1e-5, // exp of f32 (3 + 2|x| ulp in Vulkan), twice, and a reciprocal; log within 2^-21
	"kltile":              1e-5, // kl; and for each tile exp, log_ratio and a few roundings of what is never negative
	"sumloss":             3e-7, // compensated sums, and six roundings of those of 64 invocations
	"gradnorm":            1e-6, // half the error of sums of squares by blocks
	"adamw":               2e-6, // moments of few steps; sqrt and a division (2.5 ulp each)
}

// rounded holds the operations whose results are stored in the weights' dtype.
var rounded = map[string]bool{
	"weightedsum": true,
	"random":      true,
	"adamw":       true,
}

func tolerance(t testing.TB, op, dtype string) float64 {
	t.Helper()
	bound, ok := tolerances[op]
	if !ok {
		t.Fatalf("vktest: no tolerance for %s", op)
	}
	if rounded[op] {
		bound = max(bound, map[string]float64{"F16": 0x1p-11, "BF16": 0x1p-8}[dtype])
	}
	return bound
}
