package score

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/graph"
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
	f, err := run.NewWith(d, m, windows, train.GradientOptions(Room(o, m, len(windows))))
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
	scope := d.NewScope()
	defer scope.Free()
	sums := newProductSums(scope, m)
	if err := scope.Err(); err != nil {
		return nil, runs, err
	}
	err = train.Gradients(ctx, f, m, func(layer int, _ run.Batch, w, g []op.Tensor) error {
		v, err := products(ctx, f.Recorder(), sums, w, g)
		values[layer] = append(values[layer], v)
		return err
	}, func(done, _ int) { report(layers + (train.GradientPasses-1)*done) })
	return values, f.Stats().Runs, err
}

// products is Σ|w·g| over a layer's weights, by way of sums of newProductSums.
func products(ctx context.Context, r *vk.Recorder, sums [arch.LayerRoles]*vk.Buffer, w, g []op.Tensor) (total float64, err error) {
	var used []op.Tensor
	for role, x := range w {
		if x.IsZero() || sums[role] == nil {
			continue
		}
		columns := graph.Floats(sums[role], 1, x.Cols)
		op.Zero(r, columns)
		op.ColumnAbsDot(r, columns, x, g[role])
		used = append(used, columns)
	}
	if err := r.Wait(ctx); err != nil {
		return 0, err
	}
	for _, columns := range used {
		raw := make([]byte, columns.Size())
		if err := r.Device().Download(ctx, raw, columns.View); err != nil {
			return 0, err
		}
		total += sum(decode(raw))
	}
	return total, nil
}

// PredictTaylor is the footprint of a Scorer that computes Taylor and no other scores, on a number of windows of some tokens, beside extra
// bytes of host memory; o are the Scorer's options, with StatesOnHost.
func PredictTaylor(d *vk.Device, m *model.Model, windows, window int, extra int64, o run.Options) (run.Footprint, error) {
	o = Room(o, m, windows)
	p, err := train.PredictGradients(d, m, windows, window, extra, o)
	if err != nil {
		return p, err
	}
	f, err := run.PredictMemory(d, m, windows, window, o)
	p.Device += d.DryRun(func(s *vk.Scope) {
		new(part).allocate(s, m, windows, window, f.Batches)
		newProductSums(s, m)
	})
	return p, err
}

// newProductSums makes a row of sums for the columns of each role, of the widest layer; nil for roles that have none.
func newProductSums(s *vk.Scope, m *model.Model) (sums [arch.LayerRoles]*vk.Buffer) {
	for r := range arch.LayerRoles {
		most := 0
		for _, l := range m.Layers {
			most = max(most, l.Weights[r].Cols)
		}
		if r.Info().Kind != arch.Bias {
			sums[r] = s.Buffer("sums of products", 4*int64(most), vk.OnDevice)
		}
	}
	return sums
}
