package score

import (
	"context"
	"errors"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// All runs what did not run yet of every layer below a boundary, for the whole corpus: boundary layers is all of them.
func (s *Scorer) All(ctx context.Context, boundary int, progress func(done, total int)) error {
	for first := range boundary {
		if below := s.search.below(first + 1); len(below) > 0 {
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
		if err := s.All(ctx, c.From, nil); err != nil {
			return nil, err
		}
	}
	windows, err := s.f.Losses(ctx, layers, candidates, progress)
	if err != nil {
		return nil, err
	}
	var losses []float64
	for _, terms := range windows {
		losses = append(losses, sum(terms)/float64(len(terms)))
	}
	return losses, nil
}

// LastStates is what each window's last token is when it leaves a candidate, after the final norm: [windows, hidden] f32.
func (s *Scorer) LastStates(ctx context.Context, c model.Candidate) ([]byte, error) {
	if err := s.All(ctx, c.From, nil); err != nil {
		return nil, err
	}
	err := s.f.LastStates(ctx, c, func(b model.Batch, x op.Tensor) error {
		op.GatherRows(s.f.Recorder(), s.rows, b.Begin, x, s.f.Each(b))
		return s.f.Recorder().Err()
	})
	if err != nil {
		return nil, err
	}
	return s.read(ctx, s.rows)
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
	if err := s.All(ctx, layers, progress); err != nil {
		return nil, err
	}
	most := 0
	for _, b := range s.f.Batches() {
		most = max(most, b.Windows()*s.f.Window())
	}
	buf, err := s.d.NewBuffer("distances of states", 4*int64(most), vk.OnDevice)
	if err != nil {
		return nil, err
	}
	defer s.d.Free(buf)
	r, skips := s.f.Recorder(), make([]float64, layers-span+1)
	for l := range skips {
		err := s.f.Pairs(ctx, l, l+span, func(b model.Batch, x, y op.Tensor) error {
			if l+span == layers {
				y = s.f.FinalNorm(s.m, y)
			}
			n := x.Rows
			out := op.Of(buf.View(0, 4*int64(n)), dtype.F32, 1, n)
			if distance == Angle {
				op.AngularDistance(r, out, x, y)
			} else {
				op.BlockInfluence(r, out, x, y)
			}
			raw, err := s.read(ctx, out)
			if err != nil {
				return err
			}
			values := decode(raw)
			for w := range b.Windows() { // by window, so that a corpus cut into parts adds up the same
				skips[l] += sum(values[w*s.f.Window() : (w+1)*s.f.Window()])
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		skips[l] /= float64(len(s.f.Windows()) * s.f.Window())
	}
	return skips, nil
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
