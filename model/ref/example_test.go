package ref_test

import (
	"fmt"

	"github.com/vkcome/vkcome/model/ref"
)

// The feed-forward half of a decoder layer, on one token.
func Example() {
	x := ref.Mat{Rows: 1, Cols: 2, Data: []float64{3, 4}}
	gate := ref.Mat{Rows: 3, Cols: 2, Data: []float64{1, 0, 0, 1, 1, 1}}
	up := ref.Mat{Rows: 3, Cols: 2, Data: []float64{0, 1, 1, 0, 1, -1}}
	down := ref.Mat{Rows: 2, Cols: 3, Data: []float64{1, 0, 1, 0, 1, 0}}

	n := ref.RMSNorm(x, []float64{1, 1}, 1e-5)
	a := ref.SwiGLU(ref.Linear(n, gate, nil), ref.Linear(n, up, nil))
	y := ref.Add(x, ref.Linear(a, down, nil))
	fmt.Printf("%.4f\n", y.Data)
	fmt.Printf("%.4f\n", ref.NeuronSensitivity(a, down))
	// Output:
	// [3.1802 4.7258]
	// [0.6722 0.7258 0.4921]
}

// The share of each of two layers, and how many of 384 neurons each gives to the merged one.
func ExampleFusionRatio() {
	ratio := ref.FusionRatio([]float64{0.01, 0.03}, 1, 0, 2)
	fmt.Printf("%.2f %d\n", ratio, ref.Counts(ratio, 384))
	// Output: [0.25 0.75] [96 288]
}
