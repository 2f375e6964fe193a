package model

import (
	"context"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model/op"
)

// Candidate is a model that differs from the one whose states a Forward keeps from layer From on: what enters that layer is the same.
type Candidate struct {
	Model *Model
	From  int
}

// Losses is the mean cross-entropy of each window of the corpus, in nats, under each candidate: element [c][w]. The states of the
// boundaries up to each From must be kept; they stay, and nothing is left of the others. All candidates have the same embedding, final
// norm and LM head, and as many layers.
//
// Candidates share the layers above the place where they differ. Where not all weights stay on the device they go through each layer
// together, so that it is uploaded once; elsewhere one after the other, so that the states of one are kept at a time. progress, if not
// nil, is told how many passes of a layer are done.
func (f *Forward) Losses(ctx context.Context, candidates []Candidate, progress func(done, total int)) (loss [][]float64, err error) {
	together := f.headGroup(len(candidates))
	if f.keep {
		together = 1
	}
	done, total := 0, 0
	for _, c := range candidates {
		total += len(c.Model.Layers) - c.From
	}
	for begin := 0; begin < len(candidates); begin += together {
		group := candidates[begin:min(begin+together, len(candidates))]
		some, err := f.groupLosses(ctx, group, func() {
			if done++; progress != nil {
				progress(done, total)
			}
		})
		if err != nil {
			return nil, err
		}
		loss = append(loss, some...)
	}
	return loss, nil
}

// headGroup is how many of n candidates' losses may be on the device at a time: a sixteenth of its memory, 20 bytes a token.
func (f *Forward) headGroup(n int) int {
	tokens := int64(len(f.windows)) * int64(f.window)
	return min(n, max(1, int(f.d.MemoryLimit()/16/(20*tokens))))
}

func (f *Forward) groupLosses(ctx context.Context, group []Candidate, pass func()) (loss [][]float64, err error) {
	branches := make([]branch, len(group))
	defer func() {
		err = errors.Join(err, f.Wait(context.WithoutCancel(ctx)))
		for i := range branches {
			branches[i].drop(f)
		}
	}()
	first, last := len(group[0].Model.Layers), len(group[0].Model.Layers)
	for i, c := range group {
		if len(c.Model.Layers) != last {
			return nil, fmt.Errorf("model: candidates of %d and %d layers", last, len(c.Model.Layers))
		}
		if !f.Has(c.From) {
			return nil, fmt.Errorf("model: the states at boundary %d are not kept", c.From)
		}
		branches[i] = branch{at: c.From, chunks: f.states[c.From], borrowed: true}
		first = min(first, c.From)
	}
	for l := first; l < last; l++ {
		for i, c := range group {
			if c.From > l {
				continue
			}
			if err := branches[i].layer(ctx, f, c.Model); err != nil {
				return nil, err
			}
			pass()
		}
	}
	var ends [][]chunk
	for i := range branches {
		ends = append(ends, branches[i].chunks)
	}
	tokens, err := f.losses(ctx, group[0].Model, ends)
	if err != nil {
		return nil, err
	}
	for _, windows := range tokens {
		means := make([]float64, len(windows))
		for w, values := range windows {
			for _, v := range values {
				means[w] += float64(v)
			}
			means[w] /= float64(len(values))
		}
		loss = append(loss, means)
	}
	return loss, nil
}

// LastStates is the state of each window's last token that leaves a candidate's last layer, after the final norm, through visit: a
// tensor [windows, hidden] a batch, good for recording until visit returns. All else is as with Losses.
func (f *Forward) LastStates(ctx context.Context, c Candidate, visit func(b Batch, x op.Tensor) error) (err error) {
	if !f.Has(c.From) {
		return fmt.Errorf("model: the states at boundary %d are not kept", c.From)
	}
	b := branch{at: c.From, chunks: f.states[c.From], borrowed: true}
	defer func() {
		err = errors.Join(err, f.Wait(context.WithoutCancel(ctx)))
		b.drop(f)
	}()
	last := len(c.Model.Layers) - 1
	for b.at < last {
		if err := b.layer(ctx, f, c.Model); err != nil {
			return err
		}
	}
	return b.with(f, func() error {
		return f.LastTokens(ctx, c.Model, last, f.all(), func(s Step) error { return visit(s.Batch, f.FinalNorm(c.Model, s.Out)) })
	})
}

// branch is the states of a candidate at one boundary.
type branch struct {
	at       int
	chunks   []chunk
	borrowed bool // they are the Forward's own
}

// with lends the Forward the branch's states in the place of its own.
func (b *branch) with(f *Forward, run func() error) error {
	trunk := f.states
	f.states = make([][]chunk, b.at+2)
	f.states[b.at] = b.chunks
	err := run()
	made := f.states[b.at+1]
	f.states = trunk
	if made != nil {
		b.drop(f)
		*b = branch{at: b.at + 1, chunks: made}
	}
	return err
}

// layer takes the branch through its next layer.
func (b *branch) layer(ctx context.Context, f *Forward, m *Model) error {
	return b.with(f, func() error { return f.Layer(ctx, m, b.at, nil) })
}

func (b *branch) drop(f *Forward) {
	if !b.borrowed {
		for _, c := range b.chunks {
			f.drop(c)
		}
	}
	b.chunks = nil
}

// Pairs gives visit each batch's states at two boundaries, as tensors [tokens, hidden] that are good for recording until it returns.
func (f *Forward) Pairs(ctx context.Context, lower, upper int, visit func(b Batch, x, y op.Tensor) error) error {
	if !f.Has(lower) || !f.Has(upper) {
		return fmt.Errorf("model: the states at boundaries %d and %d are not both kept", lower, upper)
	}
	for i, b := range f.batches {
		x, err := f.chunkTensor(ctx, f.states[lower][i], f.in, i)
		if err != nil {
			return err
		}
		y, err := f.chunkTensor(ctx, f.states[upper][i], f.out, i)
		if err != nil {
			return err
		}
		if err := visit(b, x, y); err != nil {
			return err
		}
	}
	return f.r.Wait(ctx)
}
