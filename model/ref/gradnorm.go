package ref

import "math"

// GradNorm is the Euclidean norm over all gradients together.
func GradNorm(grads ...Mat) float64 {
	squares := 0.0
	for _, g := range grads {
		for _, v := range g.Data {
			squares += v * v
		}
	}
	return math.Sqrt(squares)
}
