package vktest

import "testing"

// tolerances holds the bounds of whole models, with their reasons, and of two operations that tests outside of model/op look at; those of
// operations stand beside their cases (model/op/optest). Weights are rounded to their dtype before both sides compute, so
// the dtype matters only where results are rounded to it.
var tolerances = map[string]float64{
	"model loss":          1e-4, // a few layers of f32 arithmetic; the loss itself is a difference of numbers of its size
	"model logits":        1e-4, // the same
	"model logits of f16": 5e-3, // activations of a few layers rounded to 11 bits where linear takes cooperative matrices
	"model scores":        1e-4, // the same, of cosines that lie near each other
	"model scores of f16": 5e-3, // as logits of f16
	"weightedsum":         5e-7, // a rounding for each product and each sum
	"random":              2e-7, // two f32 roundings
}

// rounded holds the operations whose results are stored in the weights' dtype.
var rounded = map[string]bool{
	"weightedsum": true,
	"random":      true,
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
