package vktest

import "testing"

// tolerances holds the bound of every operation, with its reason. Weights are rounded to their dtype before both sides compute, so
// the dtype matters only where results are rounded to it.
var tolerances = map[string]float64{
	"rmsnorm": 2e-6, // a few f32 roundings and the driver's inversesqrt (2 ulp)
}

// rounded holds the operations whose results are stored in the weights' dtype.
var rounded = map[string]bool{}

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
