// Package eval measures how well a model predicts text.
package eval

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
)

// Perplexity is exp of the mean negative log-likelihood of every token that has a predecessor in its window.
type Perplexity struct {
	Perplexity   float64 `json:"perplexity"`
	MeanNLL      float64 `json:"mean_nll"` // nats per token
	Windows      int     `json:"windows"`
	TokensScored int     `json:"tokens_scored"`
}

// RunPerplexity evaluates m on windows of equal length that do not overlap, layer by layer. progress may be nil.
func RunPerplexity(ctx context.Context, d *vk.Device, m *model.Model, windows [][]uint32, progress func(done, total int)) (*Perplexity, error) {
	return RunPerplexityWith(ctx, d, m, windows, PerplexityOptions{}, progress)
}

// PerplexityOptions say how windows are scored.
type PerplexityOptions struct {
	Run run.Options
	// SecondHalf scores the tokens of the second half of each window alone, but for its first: the context of the others is short. It is what
	// llama-perplexity of llama.cpp does.
	SecondHalf bool
}

// RunPerplexityWith is RunPerplexity with options.
func RunPerplexityWith(ctx context.Context, d *vk.Device, m *model.Model, windows [][]uint32, o PerplexityOptions, progress func(done, total int)) (p *Perplexity, err error) {
	f, err := run.NewWith(d, m, windows, o.Run)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Run(ctx, m, progress); err != nil {
		return nil, err
	}
	loss, err := f.Loss(ctx, m)
	if err != nil {
		return nil, err
	}
	p = &Perplexity{Windows: len(windows)}
	sum := 0.0
	for i, window := range loss {
		if o.SecondHalf {
			window = window[len(windows[i])/2:]
		}
		for t, nll := range window {
			if nll-nll != 0 {
				return nil, fmt.Errorf("eval: %s: the loss of token %d of window %d is %v", m.Name, len(windows[i])-len(window)+t, i, nll)
			}
			sum += float64(nll)
		}
		p.TokensScored += len(window)
	}
	if p.TokensScored == 0 {
		return nil, fmt.Errorf("eval: windows of %d tokens have none to score in their second half: expected 4 or more", len(windows[0]))
	}
	p.MeanNLL = sum / float64(p.TokensScored)
	p.Perplexity = math.Exp(p.MeanNLL)
	return p, nil
}
