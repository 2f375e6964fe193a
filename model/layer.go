package model

import (
	"sync/atomic"

	"github.com/vkcome/vkcome/model/arch"
)

// Layer is a decoder layer's weights. A Layer is never changed once made, so its pointer stands for its contents.
type Layer struct {
	Weights [arch.LayerRoles]Weight
	finite  atomic.Bool
}

// NewLayer is a layer of weights by role, of which those that are absent are zero.
func NewLayer(weights []Weight) *Layer {
	l := &Layer{}
	copy(l.Weights[:], weights)
	return l
}

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
