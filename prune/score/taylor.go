package score

import (
	"context"
	"errors"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Taylor is for each layer of m Σ|w·∂loss/∂w| over its weights, biases not counted, summed over the windows of the corpus, whose losses
// are each its mean cross-entropy: a first-order estimate of what the layer is worth. It needs no Update, and is the same on one device
// and on several. Source: the block-wise criteria of Shortened LLaMA, arXiv 2402.02834.
func (s *Scorer) Taylor(ctx context.Context, m *model.Model, progress func(done, total int)) ([]float64, error) {
	if err := s.Rest(ctx); err != nil {
		return nil, err
	}
	parts := make([][][]float64, len(s.parts))
	err := s.each(ctx, func(ctx context.Context, p *part) (err error) {
		report := progress
		if p.index > 0 {
			report = nil
		}
		parts[p.index], err = taylor(ctx, p.d, m, p.f.Windows(), s.options(p.d), report)
		return err
	})
	if err != nil {
		return nil, err
	}
	scores := make([]float64, len(m.Layers))
	for l := range scores {
		for _, part := range parts {
			for _, v := range part[l] {
				scores[l] += v
			}
		}
	}
	return scores, nil
}

// taylor is the products of each layer for each window.
func taylor(ctx context.Context, d *vk.Device, m *model.Model, windows [][]uint32, o model.ForwardOptions, progress func(done, total int)) (values [][]float64, err error) {
	o.BatchWindows, o.StatesOnHost, o.KeepWeights = 1, true, false
	layers := len(m.Layers)
	report := func(done int) {
		if progress != nil {
			progress(done, 4*layers) // a backward pass takes three times as long
		}
	}
	f, err := model.NewForwardWith(d, m, windows, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Embed(ctx, m); err != nil {
		return nil, err
	}
	for l := range m.Layers {
		if err := f.Layer(ctx, m, l, nil); err != nil {
			return nil, err
		}
		report(l + 1)
	}
	if err := f.Rest(ctx); err != nil {
		return nil, err
	}
	values = make([][]float64, layers)
	sums := make([]*vk.Buffer, model.NumParts)
	defer func() { d.Free(sums...) }()
	err = f.Gradients(ctx, m, func(layer int, _ model.Batch, w, g []op.Tensor) error {
		v, err := products(ctx, f.Recorder(), sums, w, g)
		values[layer] = append(values[layer], v)
		return err
	}, func(done, _ int) { report(layers + 3*done) })
	return values, err
}

// products is Σ|w·g| over a layer's weights. sums are buffers for the columns of each part, made where they are not there.
func products(ctx context.Context, r *vk.Recorder, sums []*vk.Buffer, w, g []op.Tensor) (total float64, err error) {
	d := r.Device()
	for p, x := range w {
		if x.IsZero() || model.Part(p).Bias() {
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
