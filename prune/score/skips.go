package score

import (
	"context"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

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
	window, most := p.f.Corpus.Window, 0
	for _, b := range p.f.Corpus.Batches {
		most = max(most, b.Windows()*window)
	}
	buf, err := p.d.NewBuffer("distances of states", 4*int64(most), vk.OnDevice)
	if err != nil {
		return err
	}
	defer p.d.Free(buf)
	r := p.f.Recorder()
	for l := range windows {
		for i, b := range p.f.Corpus.Batches {
			x, y, err := p.f.States().Pair(ctx, p.f.States(), l, l+span, i)
			if err != nil {
				return err
			}
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
		}
	}
	return nil
}
