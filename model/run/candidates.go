package run

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/states"
)

// Candidate is a model that differs from the one whose states a Forward keeps from layer From on: what enters that layer is the same.
type Candidate struct {
	From int
	Own  bool // the layer at From is no other model's: it is let go once it ran
	// Make gives the model when it is needed.
	Make func(ctx context.Context) (*model.Model, error)
}

// Losses is the mean cross-entropy of each window of the corpus, in nats, under each candidate: element [c][w]. The states of the
// boundaries up to each From must be kept; they stay, and nothing is left of the others. All candidates have the same embedding, final
// norm and LM head, and layers layers.
//
// Candidates share the layers above the place where they differ. Where not all weights stay on the device they go through each layer
// together, so that it is uploaded once; elsewhere one after the other, so that the states of one are kept at a time. progress, if not
// nil, is told how many passes of a layer are done.
func (f *Forward) Losses(ctx context.Context, layers int, candidates []Candidate, progress func(done, total int)) (loss [][]float64, err error) {
	together := f.headGroup(len(candidates))
	if f.keep {
		together = 1
	}
	done, total := 0, 0
	for _, c := range candidates {
		total += layers - c.From
	}
	for group := range slices.Chunk(candidates, together) {
		some, err := f.groupLosses(ctx, layers, group, func() {
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
	tokens := int64(len(f.Corpus.Windows)) * int64(f.Corpus.Window)
	return max(1, min(n, int(f.d.MemoryLimit()/16/(20*tokens))))
}

func (f *Forward) groupLosses(ctx context.Context, layers int, group []Candidate, pass func()) (loss [][]float64, err error) {
	branches := make([]branch, len(group))
	defer func() {
		err = errors.Join(err, f.Wait(context.WithoutCancel(ctx)))
		for i := range branches {
			branches[i].drop(f)
		}
	}()
	first := layers
	for i, c := range group {
		if branches[i], err = f.branch(c.From); err != nil {
			return nil, err
		}
		first = min(first, c.From)
	}
	models := make([]*model.Model, len(group))
	for l := first; l <= layers; l++ { // at the end those that have no layer of their own are made
		for i, c := range group {
			if c.From == l {
				if models[i], err = c.Make(ctx); err != nil {
					return nil, err
				}
				if n := len(models[i].Layers); n != layers {
					return nil, fmt.Errorf("model: a candidate of %d layers, expected %d", n, layers)
				}
			}
			if c.From > l || l == layers {
				continue
			}
			if err := branches[i].layer(ctx, f, models[i]); err != nil {
				return nil, err
			}
			if c.From == l && c.Own {
				f.Trim(models[i].Layers[l : l+1])
				models[i] = without(models[i], l)
			}
			pass()
		}
	}
	var ends []states.Boundary
	for i := range branches {
		ends = append(ends, branches[i].states)
	}
	tokens, err := f.losses(ctx, models[0], ends)
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
	m, err := c.Make(ctx)
	if err != nil {
		return err
	}
	b, err := f.branch(c.From)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Wait(context.WithoutCancel(ctx)))
		b.drop(f)
	}()
	last := len(m.Layers) - 1
	if b.at > last {
		return fmt.Errorf("model: a candidate of %d layers that differs from layer %d on: nothing is left to run", len(m.Layers), b.at)
	}
	for b.at < last {
		if err := b.layer(ctx, f, m); err != nil {
			return err
		}
	}
	return b.with(f, func() error {
		return f.LastTokens(ctx, m, last, f.store.All(), func(s Step) error { return visit(s.Batch, f.FinalNorm(m, s.Out)) })
	})
}

// without is a model that lets go of a layer that is not needed any more.
func without(m *model.Model, l int) *model.Model {
	out := *m
	out.Layers = slices.Clone(m.Layers)
	out.Layers[l] = nil
	return &out
}

// branch is the states of a candidate at one boundary.
type branch struct {
	at       int
	states   states.Boundary
	borrowed bool // they are the Forward's own
}

// branch is a branch that is still where the states are the Forward's own.
func (f *Forward) branch(from int) (branch, error) {
	if err := f.store.Need(from); err != nil {
		return branch{}, fmt.Errorf("model: %w", err)
	}
	return branch{at: from, states: f.store.At(from), borrowed: true}, nil
}

// with lends the Forward the branch's states in the place of its own, and goes on to what run made of them.
func (b *branch) with(f *Forward, run func() error) error {
	made, err := f.store.With(b.at, b.states, run)
	if made != nil {
		b.drop(f)
		*b = branch{at: b.at + 1, states: made}
	}
	return err
}

// layer takes the branch through its next layer.
func (b *branch) layer(ctx context.Context, f *Forward, m *model.Model) error {
	return b.with(f, func() error { return f.Layer(ctx, m, b.at, nil) })
}

func (b *branch) drop(f *Forward) {
	if !b.borrowed {
		f.store.Forget(b.states)
	}
	b.states = nil
}
