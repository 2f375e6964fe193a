package graph

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Spare is where products put what they multiply in half precision. The zero value is of a device whose products do not.
type Spare struct {
	x       *vk.Buffer
	weights op.Tensor
}

// NewSpare allocates for products of weights of a dtype, matrices of at most out × in, for up to so many rows.
func NewSpare(s *vk.Scope, weights dtype.DType, rows, in, out int) Spare {
	return newSpare(s, weights, rows, in, op.LinearHalves(s.Device(), weights, out, in))
}

// newGradSpare allocates for the gradients of such products.
func newGradSpare(s *vk.Scope, weights dtype.DType, rows, in, out int) Spare {
	return newSpare(s, weights, rows, max(in, out), op.LinearGradHalves(s.Device(), weights, out, in, rows))
}

func newSpare(s *vk.Scope, weights dtype.DType, rows, in, halves int) (p Spare) {
	if !op.LinearScratch(s.Device(), weights) {
		return p
	}
	p.x = table{s, rows}.floats("inputs in half precision", in)
	if halves > 0 {
		p.weights = Floats(s.Buffer("weights in half precision", 4*int64(halves), vk.OnDevice), 1, halves)
	}
	return p
}

// For is the place for a product of x.
func (p Spare) For(x op.Tensor) (scratch, halves op.Tensor) {
	if p.x == nil {
		return op.Tensor{}, op.Tensor{}
	}
	return Floats(p.x, x.Rows, x.Cols), p.weights
}

// in is a product of x with that place.
func (p Spare) in(x op.Tensor, o op.Fused) op.Fused {
	o.Scratch, o.Halves = p.For(x)
	return o
}
