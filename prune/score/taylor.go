package score

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/vk"
)

// Taylor is for each layer of m Σ|w·∂loss/∂w| over its weights, biases not counted, summed over the windows of the corpus, whose losses
// are each its mean cross-entropy: a first-order estimate of what the layer is worth. It needs no Update, and is the same on one device
// and on several. Source: the block-wise criteria of Shortened LLaMA, arXiv 2402.02834.
func (s *Scorer) Taylor(ctx context.Context, m *model.Model, progress func(done, total int)) ([]float64, error) {
	if err := s.Rest(ctx); err != nil {
		return nil, err
	}
	parts, runs := make([][][]float64, len(s.parts)), make([]run.Runs, len(s.parts))
	err := s.each(ctx, func(ctx context.Context, p *part) (err error) {
		report := progress
		if p.index > 0 {
			report = nil
		}
		parts[p.index], runs[p.index], err = taylor(ctx, p.d, m, p.f.Corpus.Windows, s.options(p.d), report)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		s.earlier = s.earlier.Plus(r)
	}
	scores := make([]float64, len(m.Layers))
	for l := range scores {
		for _, part := range parts {
			for _, v := range part[l] {
				scores[l] += v
			}
		}
		if math.IsNaN(scores[l]) || math.IsInf(scores[l], 0) {
			return nil, fmt.Errorf("score: %s: layer %d: the gradients of its weights are NaN or infinite", m.Name, l)
		}
	}
	return scores, nil
}

// taylor is the products of each layer for each window.
func taylor(ctx context.Context, d *vk.Device, m *model.Model, windows [][]uint32, o run.Options, progress func(done, total int)) (values [][]float64, runs run.Runs, err error) {
	layers := len(m.Layers)
	report := func(done int) {
		if progress != nil {
			progress(done, train.GradientPasses*layers)
		}
	}
	f, err := run.NewWith(d, m, windows, train.GradientOptions(o))
	if err != nil {
		return nil, runs, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Embed(ctx, m); err != nil {
		return nil, runs, err
	}
	for l := range m.Layers {
		if err := f.Layer(ctx, m, l, nil); err != nil {
			return nil, runs, err
		}
		report(l + 1)
	}
	if err := f.Rest(ctx); err != nil {
		return nil, runs, err
	}
	values = make([][]float64, layers)
	sums := make([]*vk.Buffer, arch.LayerRoles)
	defer func() { d.Free(sums...) }()
	err = train.Gradients(ctx, f, m, func(layer int, _ run.Batch, w, g []op.Tensor) error {
		v, err := products(ctx, f.Recorder(), sums, w, g)
		values[layer] = append(values[layer], v)
		return err
	}, func(done, _ int) { report(layers + (train.GradientPasses-1)*done) })
	return values, f.Stats().Runs, err
}

// products is Σ|w·g| over a layer's weights. sums are buffers for the columns of each part, made where they are not there.
func products(ctx context.Context, r *vk.Recorder, sums []*vk.Buffer, w, g []op.Tensor) (total float64, err error) {
	d := r.Device()
	for p, x := range w {
		if x.IsZero() || arch.Role(p).Info().Kind == arch.Bias {
			continue
		}
		if sums[p] == nil {
			if sums[p], err = d.NewBuffer("sums of products", 4*int64(x.Cols), vk.OnDevice); err != nil {
				return 0, err
			}
		}
		columns := op.Of(sums[p].All(), dtype.F32, 1, x.Cols)
		op.Zero(r, columns)
		op.ColumnAbsDot(r, columns, x, g[p])
	}
	if err := r.Wait(ctx); err != nil {
		return 0, err
	}
	for _, b := range sums {
		if b == nil {
			continue
		}
		raw := make([]byte, b.All().Size())
		if err := d.Download(ctx, raw, b.All()); err != nil {
			return 0, err
		}
		total += sum(decode(raw))
	}
	return total, nil
}

// PredictTaylor is the footprint of a Scorer that computes Taylor and no other scores, on a number of windows of some tokens, beside extra
// bytes of host memory; o are the Scorer's options, with StatesOnHost.
func PredictTaylor(d *vk.Device, m *model.Model, windows, window int, extra int64, o run.Options) (run.Footprint, error) {
	p, err := train.PredictGradients(d, m, windows, window, extra, o)
	c, align := m.Config, max(d.Limits().OffsetAlignment, 4)
	row := 4 * int64(window+c.Heads*c.HeadDim+c.IntermediateSize+3*c.HiddenSize+1) // of slots and pairs of last tokens, see part.allocate
	p.Device += int64(windows) * (row + 4*align)
	for _, w := range m.Layers[0].Weights { // sums of products
		p.Device += (4*int64(w.Cols) + 255) / 256 * 256
	}
	return p, err
}
