package score

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/vkcome/vkcome/model"
)

// held is what a Scorer knew at Hold.
type held struct {
	m       *model.Model
	seen    []layerScores
	last    [][]byte
	there   [][]bool
	columns map[*model.Layer]columnSums
	heights []int
}

// Hold keeps what is known of the model, its states included, until Close, whatever model is scored next, for Rewind to come back to. All
// layers must have run for the whole corpus: see All. It is called once.
func (s *Scorer) Hold() {
	for _, p := range s.parts {
		p.f.States().Hold()
	}
	s.held = held{s.m, slices.Clone(s.seen), slices.Clone(s.last), slices.Clone(s.there), maps.Clone(s.columns), slices.Clone(s.search.heights)}
}

// Rewind makes the Scorer what it was at Hold: nothing of that model runs again.
func (s *Scorer) Rewind() {
	for _, p := range s.parts {
		p.f.States().Rewind()
	}
	h := s.held
	s.m, s.seen, s.last, s.there, s.columns = h.m, slices.Clone(h.seen), slices.Clone(h.last), slices.Clone(h.there), maps.Clone(h.columns)
	s.search = search{layers: len(s.m.Layers), batches: s.search.batches, heights: slices.Clone(h.heights), devices: s.search.devices, advance: s.advance}
	s.span = 0
}

// Rest gives back the device memory that running layers takes, until they run again.
func (s *Scorer) Rest(ctx context.Context) (err error) {
	for _, p := range s.parts {
		err = errors.Join(err, p.f.Rest(ctx))
	}
	return err
}
