package score

import (
	"context"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
)

// All runs what did not run yet of every layer below a boundary, for the whole corpus: boundary layers is all of them.
func (s *Scorer) All(ctx context.Context, boundary int, progress func(done, total int)) error {
	return s.run(ctx, boundary, s.search.stats, progress)
}

// states is All for hidden states, which stats that were loaded come without.
func (s *Scorer) states(ctx context.Context, boundary int, progress func(done, total int)) error {
	return s.run(ctx, boundary, func(batch int) int { return s.search.heights[batch] }, progress)
}

// run takes every batch to a boundary, layer by layer, that did not come so far.
func (s *Scorer) run(ctx context.Context, boundary int, reached func(batch int) int, progress func(done, total int)) error {
	for first := range boundary {
		var below []int
		for b := range s.batches {
			if reached(b) <= first {
				below = append(below, b)
			}
		}
		if len(below) > 0 {
			if err := s.advance(ctx, below, first+1, false); err != nil {
				return err
			}
		}
		if progress != nil {
			progress(first+1, boundary)
		}
	}
	return nil
}

// Losses is the calibration loss of each candidate: the mean over the corpus windows of their mean cross-entropy, in nats. The layers
// below every From run first, as far as they did not.
func (s *Scorer) Losses(ctx context.Context, layers int, candidates []run.Candidate, progress func(done, total int)) ([]float64, error) {
	for _, c := range candidates {
		if err := s.states(ctx, c.From, nil); err != nil {
			return nil, err
		}
	}
	shared := s.shared(candidates)
	windows := make([][][]float64, len(s.parts)) // by part, candidate and window
	err := s.each(ctx, func(ctx context.Context, p *part) (err error) {
		report := progress
		if p.index > 0 { // the parts are as far as one of them, nearly
			report = nil
		}
		windows[p.index], err = p.f.Losses(ctx, layers, shared(p), report)
		return err
	})
	if err != nil {
		return nil, err
	}
	var losses []float64
	for c := range candidates {
		var terms []float64
		for i := range s.parts {
			terms = append(terms, windows[i][c]...)
		}
		losses = append(losses, sum(terms)/float64(len(terms)))
	}
	return losses, nil
}

// shared gives each part the candidates. The first part makes their models, between what it runs itself, and hands each to the others
// before it goes on, so that no more than one waits in memory. All parts ask for them in the same order.
func (s *Scorer) shared(candidates []run.Candidate) func(p *part) []run.Candidate {
	made := make([]chan *model.Model, len(candidates))
	for i := range made {
		made[i] = make(chan *model.Model)
	}
	return func(p *part) []run.Candidate {
		list := slices.Clone(candidates)
		for i, c := range candidates {
			list[i].Make = func(ctx context.Context) (*model.Model, error) {
				if p.index > 0 {
					select {
					case m := <-made[i]:
						return m, nil
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				m, err := c.Make(ctx)
				if err != nil {
					return nil, err
				}
				for range s.parts[1:] {
					select {
					case made[i] <- m:
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				return m, nil
			}
		}
		return list
	}
}

// LastStates is what each window's last token is when it leaves a candidate, after the final norm: [windows, hidden] f32.
func (s *Scorer) LastStates(ctx context.Context, c run.Candidate) ([]byte, error) {
	if err := s.states(ctx, c.From, nil); err != nil {
		return nil, err
	}
	shared := s.shared([]run.Candidate{c})
	last := make([]byte, 4*len(s.windows)*s.m.Config.HiddenSize)
	err := s.each(ctx, func(ctx context.Context, p *part) error {
		r := p.f.Recorder()
		err := p.f.LastStates(ctx, shared(p)[0], func(b run.Batch, x op.Tensor) error {
			op.GatherRows(r, p.rows, b.Begin, x, p.f.Each(b))
			return r.Err()
		})
		if err != nil {
			return err
		}
		raw, err := p.read(ctx, p.rows)
		copy(last[p.begin*int(p.rows.RowBytes()):], raw)
		return err
	})
	return last, err
}

// LastToken is the state of each window's last token at a boundary, [windows, hidden] f32; that of the last boundary after the final
// norm. The layers below must have run.
func (s *Scorer) LastToken(boundary int) []byte { return s.last[boundary] }
