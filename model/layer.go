package model

import (
	"sync/atomic"
	"weak"

	"github.com/vkcome/vkcome/model/arch"
)

// Layer is a decoder layer's weights. A Layer is never changed once made, so its pointer stands for its contents.
type Layer struct {
	Weights [arch.LayerRoles]Weight
	finite  atomic.Bool
	of      Origins // those that are not this layer's own
}

// Origins say of every role which layer first had a weight. Weights of the same origin are the same; others may be. They keep no layer in memory.
type Origins [arch.LayerRoles]weak.Pointer[Layer]

// NewLayer is a layer of weights by role, of which those that are absent are zero.
func NewLayer(weights []Weight) *Layer {
	l := &Layer{}
	copy(l.Weights[:], weights)
	return l
}

// With is the layer with other weights in the place of some, by role.
func (l *Layer) With(weights map[arch.Role]Weight) *Layer {
	out := &Layer{Weights: l.Weights, of: l.Origins()}
	for role, w := range weights {
		out.Weights[role], out.of[role] = w, weak.Pointer[Layer]{}
	}
	return out
}

// Origins are the layer's.
func (l *Layer) Origins() Origins {
	of, own := l.of, weak.Make(l)
	for role := range of {
		if of[role] == (weak.Pointer[Layer]{}) {
			of[role] = own
		}
	}
	return of
}

// CopyOf notes, before others see the layer, that it has the weights of another.
func (l *Layer) CopyOf(other *Layer) { l.of = other.Origins() }

// Finite says whether the layer's weights are known to hold neither NaN nor infinity.
func (l *Layer) Finite() bool { return l.finite.Load() }

// SetFinite notes that they were read and hold neither.
func (l *Layer) SetFinite() { l.finite.Store(true) }

// Bytes is the size of the layer's weights.
func (l *Layer) Bytes() (n int64) {
	for _, w := range l.Weights {
		n += w.Size()
	}
	return n
}

// Parameters is the number of the layer's weights.
func (l *Layer) Parameters() (n int64) {
	for _, w := range l.Weights {
		n += w.Elements()
	}
	return n
}
