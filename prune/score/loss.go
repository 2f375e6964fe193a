package score

import (
	"context"
	"errors"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// All runs what did not run yet of every layer below a boundary, for the whole corpus: boundary layers is all of them.
func (s *Scorer) All(ctx context.Context, boundary int, progress func(done, total int)) error {
	return s.run(ctx, boundary, s.search.figures, progress)
}

// states is All for hidden states, which figures that were loaded come without.
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
func (s *Scorer) Losses(ctx context.Context, layers int, candidates []model.Candidate, progress func(done, total int)) ([]float64, error) {
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

// shared gives each part the candidates. The first part makes their models, between what it runs itself, and the others wait for them.
func (s *Scorer) shared(candidates []model.Candidate) func(p *part) []model.Candidate {
	made := make([]chan *model.Model, len(candidates))
	for i := range made {
		made[i] = make(chan *model.Model, len(s.parts)-1)
	}
	return func(p *part) []model.Candidate {
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
				if err == nil {
					for range s.parts[1:] {
						made[i] <- m
					}
				}
				return m, err
			}
		}
		return list
	}
}

// LastStates is what each window's last token is when it leaves a candidate, after the final norm: [windows, hidden] f32.
func (s *Scorer) LastStates(ctx context.Context, c model.Candidate) ([]byte, error) {
	if err := s.states(ctx, c.From, nil); err != nil {
		return nil, err
	}
	shared := s.shared([]model.Candidate{c})
	last := make([]byte, 4*len(s.windows)*s.m.Config.HiddenSize)
	err := s.each(ctx, func(ctx context.Context, p *part) error {
		r := p.f.Recorder()
		err := p.f.LastStates(ctx, shared(p)[0], func(b model.Batch, x op.Tensor) error {
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

// A Distance compares two states of a token.
type Distance int

// The distances.
const (
	Angle  Distance = iota // arccos(cos)/π
	Cosine                 // 1 − cos
)

// Skips is the distance between the states that enter and leave every window of span layers, as a mean over all tokens of the corpus:
// what CoMe-P takes for the skip block influence, and with Cosine the block influence of a window. Every layer runs first, as far as it
// did not.
func (s *Scorer) Skips(ctx context.Context, span int, distance Distance, progress func(done, total int)) ([]float64, error) {
	layers := len(s.m.Layers)
	if err := s.states(ctx, layers, progress); err != nil {
		return nil, err
	}
	windows := make([][]float64, layers-span+1) // by candidate, sums over the tokens of each window: a corpus cut into parts adds up the same
	for l := range windows {
		windows[l] = make([]float64, len(s.windows))
	}
	if err := s.each(ctx, func(ctx context.Context, p *part) error { return p.skips(ctx, span, distance, windows) }); err != nil {
		return nil, err
	}
	var skips []float64
	for _, sums := range windows {
		skips = append(skips, sum(sums)/float64(len(s.windows)*len(s.windows[0])))
	}
	return skips, nil
}

// skips fills in what Skips adds up, of the part's windows.
func (p *part) skips(ctx context.Context, span int, distance Distance, windows [][]float64) error {
	window, most := p.f.Window(), 0
	for _, b := range p.f.Batches() {
		most = max(most, b.Windows()*window)
	}
	buf, err := p.d.NewBuffer("distances of states", 4*int64(most), vk.OnDevice)
	if err != nil {
		return err
	}
	defer p.d.Free(buf)
	r := p.f.Recorder()
	for l := range windows {
		err := p.f.Pairs(ctx, l, l+span, func(b model.Batch, x, y op.Tensor) error {
			if l+span == len(p.s.m.Layers) {
				y = p.f.FinalNorm(p.s.m, y)
			}
			out := op.Of(buf.View(0, 4*int64(x.Rows)), dtype.F32, 1, x.Rows)
			if distance == Angle {
				op.AngularDistance(r, out, x, y)
			} else {
				op.BlockInfluence(r, out, x, y)
			}
			raw, err := p.read(ctx, out)
			if err != nil {
				return err
			}
			values := decode(raw)
			for w := range b.Windows() {
				windows[l][p.begin+b.Begin+w] = sum(values[w*window : (w+1)*window])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Magnitude is Σ|w| over a layer's weights, biases not counted. It needs no corpus.
func Magnitude(ctx context.Context, d *vk.Device, l *model.Layer) (total float64, err error) {
	r, err := d.NewRecorder()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for p, w := range l.Parts {
		if w.IsZero() || model.Part(p).Bias() {
			continue
		}
		n, err := magnitude(ctx, r, w)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func magnitude(ctx context.Context, r *vk.Recorder, w model.Weight) (float64, error) {
	d := r.Device()
	buf, err := d.NewBuffer("weights", w.Size(), vk.OnDevice)
	if err != nil {
		return 0, err
	}
	defer d.Free(buf)
	sums, err := d.NewBuffer("column sums", 4*int64(w.Cols), vk.OnDevice)
	if err != nil {
		return 0, err
	}
	defer d.Free(sums)
	if err := w.Put(ctx, d, buf.All()); err != nil {
		return 0, err
	}
	out := op.Of(sums.All(), dtype.F32, 1, w.Cols)
	op.ColumnAbsSum(r, out, op.Of(buf.All(), w.DType, w.Rows, w.Cols))
	if err := r.Wait(ctx); err != nil {
		return 0, err
	}
	raw := make([]byte, out.Size())
	if err := d.Download(ctx, raw, out.View); err != nil {
		return 0, err
	}
	return sum(decode(raw)), nil
}

// Over says which tokens a figure is the mean of.
type Over int

// The tokens.
const (
	LastTokens Over = iota // of each window the last
	AllTokens
)
