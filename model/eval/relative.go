package eval

import (
	"context"
	"errors"
	"math"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
)

// Relative computes perplexities of models that were made of one: those share its first layers, whose states are computed once.
type Relative struct {
	f *run.Forward
	m *model.Model
}

// NewRelative runs m on windows of equal length that do not overlap, and keeps the states between its layers until Close. progress may
// be nil.
func NewRelative(ctx context.Context, d *vk.Device, m *model.Model, windows [][]uint32, o run.Options, progress func(done, total int)) (*Relative, error) {
	f, err := run.NewWith(d, m, windows, o)
	if err != nil {
		return nil, err
	}
	err = f.Embed(ctx, m)
	for l := 0; l < len(m.Layers) && err == nil; l++ {
		if err = f.Layer(ctx, m, l, nil); progress != nil {
			progress(l+1, len(m.Layers))
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Relative{f, m}, nil
}

// Close frees the states.
func (r *Relative) Close() error { return r.f.Close() }

// Perplexity is that of m or a model that model.With made of it: exp of the mean negative log-likelihood of every token that has a
// predecessor in its window. Layers run from the first on that is not the same, or does not see as far.
func (r *Relative) Perplexity(ctx context.Context, m *model.Model) (float64, error) {
	from := 0
	for from < min(len(m.Layers), len(r.m.Layers)) && m.Layers[from] == r.m.Layers[from] && arch.AttentionOf(m.Config, from) == arch.AttentionOf(r.m.Config, from) {
		from++
	}
	itself := func(context.Context) (*model.Model, error) { return m, nil }
	windows, err := r.f.Losses(ctx, len(m.Layers), []run.Candidate{{From: from, Make: itself}}, nil)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, v := range windows[0] {
		total += v
	}
	return math.Exp(total / float64(len(windows[0]))), nil
}
