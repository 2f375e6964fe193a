package score

import (
	"context"
	"math"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// A Distance compares two states of a token.
type Distance int

// The distances.
const (
	Angle  Distance = iota // arccos(cos)/π
	Cosine                 // 1 − cos
	Length                 // ‖h_out‖/‖h_in‖, of states that no norm went over
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
	scope := p.d.NewScope()
	defer scope.Free()
	buf := scope.Buffer("distances of states", 4*int64(most), vk.OnDevice)
	var entering, turned *vk.Buffer
	if distance == Length {
		entering = scope.Buffer("lengths of states", 4*int64(most), vk.OnDevice)
		turned = scope.Buffer("states, transposed", 4*int64(most)*int64(p.s.m.Config.HiddenSize), vk.OnDevice)
	}
	if err := scope.Err(); err != nil {
		return err
	}
	r := p.f.Recorder()
	for l := range windows {
		for i, b := range p.f.Corpus.Batches {
			x, y, err := p.f.States().Pair(ctx, p.f.States(), l, l+span, i)
			if err != nil {
				return err
			}
			if l+span == len(p.s.m.Layers) && distance != Length {
				y = p.f.FinalNorm(p.s.m, y)
			}
			out := op.Of(buf.View(0, 4*int64(x.Rows)), dtype.F32, 1, x.Rows)
			switch distance {
			case Angle:
				op.AngularDistance(r, out, x, y)
			case Cosine:
				op.BlockInfluence(r, out, x, y)
			case Length: // for now Σh²
				columns := graph.Floats(turned, x.Cols, x.Rows)
				op.Transpose(r, columns, x)
				op.SquareSum(r, graph.Floats(entering, 1, x.Rows), columns, columns.Rows)
				op.Transpose(r, columns, y)
				op.SquareSum(r, out, columns, columns.Rows)
			}
			raw, err := p.read(ctx, out)
			if err != nil {
				return err
			}
			values := decode(raw)
			if distance == Length {
				if raw, err = p.read(ctx, graph.Floats(entering, 1, x.Rows)); err != nil {
					return err
				}
				for t, v := range decode(raw) {
					values[t] = math.Sqrt(values[t] / v)
				}
			}
			for w := range b.Windows() {
				windows[l][p.begin+b.Begin+w] = sum(values[w*window : (w+1)*window])
			}
		}
	}
	return nil
}
