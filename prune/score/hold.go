package score

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
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

// Hold runs what did not run yet of the model and keeps what is known of it, its states included, until Close, whatever model is scored
// next, for Rewind to come back to and for Beside. It is called once.
func (s *Scorer) Hold(ctx context.Context, progress func(done, total int)) error {
	if err := s.states(ctx, len(s.m.Layers), progress); err != nil {
		return err
	}
	for _, p := range s.parts {
		p.f.States().Hold()
	}
	s.held = held{s.m, slices.Clone(s.seen), slices.Clone(s.last), slices.Clone(s.there), maps.Clone(s.columns), slices.Clone(s.search.heights)}
	return nil
}

// HoldOnly makes and keeps the states of a model at all boundaries, of which nothing is scored: what a Scorer that is then restored lacks of
// one that held them.
func (s *Scorer) HoldOnly(ctx context.Context, m *model.Model, progress func(done, total int)) error {
	if s.m != nil {
		return errors.New("score: the states of a model are held before another is scored")
	}
	if err := s.embed(ctx, m); err != nil {
		return err
	}
	return s.each(ctx, func(ctx context.Context, p *part) error {
		for l := range m.Layers {
			if err := p.f.Layer(ctx, m, l, nil); err != nil {
				return err
			}
			if progress != nil && p.index == 0 {
				progress(l+1, len(m.Layers))
			}
		}
		p.f.States().Hold()
		p.f.States().DropAll()
		return nil
	})
}

// Recorders are what the devices compute on, in the order of their parts of the corpus.
func (s *Scorer) Recorders() (list []*vk.Recorder) {
	for _, p := range s.parts {
		list = append(list, p.f.Recorder())
	}
	return list
}

// Size is how many windows the corpus has, and the most tokens of a batch.
func (s *Scorer) Size() (windows, rows int) {
	for _, p := range s.parts {
		rows = max(rows, p.f.Corpus.Most)
	}
	return len(s.windows), rows
}

// Held is a batch of a layer's run beside the states that were held.
type Held struct {
	run.Step
	Part  int       // of the corpus: that of the recorder of this number
	First int       // the batch's first window, of the whole corpus
	Y     op.Tensor // [tokens, hidden]: the states that were held
}

// Beside runs layer l of m, whose layers below are those of the scorer's model, for the whole corpus and gives visit each batch beside the
// states that were held at a boundary, good for recording until it returns. The parts of several devices run at the same time. The layers
// below run first, as far as they did not.
func (s *Scorer) Beside(ctx context.Context, m *model.Model, l, boundary int, visit func(Held) error) error {
	if err := s.states(ctx, l, nil); err != nil {
		return err
	}
	return s.each(ctx, func(ctx context.Context, p *part) (err error) {
		states := p.f.States()
		held, err := states.HeldAt(boundary)
		if err != nil {
			return err
		}
		staging, err := p.d.NewBuffer("held states", 4*int64(p.f.Corpus.Most)*int64(m.Config.HiddenSize), vk.OnDevice)
		if err != nil {
			return err
		}
		defer p.d.Free(staging)
		made, err := states.With(l, states.At(l), func() error {
			return p.f.Kept.Layer(ctx, m, l, func(step run.Step) error {
				y, err := states.Upload(ctx, held, step.Index, staging)
				if err != nil {
					return err
				}
				return visit(Held{step, p.index, p.begin + step.Batch.Begin, y})
			})
		})
		states.Forget(made)
		return err
	})
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
