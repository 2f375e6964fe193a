package model

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model/op"
)

// Candidate is a model that differs from the one whose states a Forward keeps from layer From on: what enters that layer is the same.
type Candidate struct {
	From int
	Own  bool // the layer at From is no other model's: it is let go once it ran
	// Make gives the model when it is needed.
	Make func(ctx context.Context) (*Model, error)
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
	tokens := int64(len(f.windows)) * int64(f.window)
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
	models := make([]*Model, len(group))
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
				models[i] = models[i].without(l)
			}
			pass()
		}
	}
	var ends [][]chunk
	for i := range branches {
		ends = append(ends, branches[i].chunks)
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

// without lets go of a layer that is not needed any more.
func (m *Model) without(l int) *Model {
	out := *m
	out.Layers = slices.Clone(m.Layers)
	out.Layers[l] = nil
	return &out
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
		return f.LastTokens(ctx, m, last, f.all(), func(s Step) error { return visit(s.Batch, f.FinalNorm(m, s.Out)) })
	})
}

// branch is the states of a candidate at one boundary.
type branch struct {
	at       int
	chunks   []chunk
	borrowed bool // they are the Forward's own
}

// branch is a branch that is still where the states are the Forward's own.
func (f *Forward) branch(from int) (branch, error) {
	if !f.Has(from) {
		return branch{}, fmt.Errorf("model: the states at boundary %d are not kept", from)
	}
	return branch{at: from, chunks: f.states[from], borrowed: true}, nil
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

// StatePair is a batch's states at a boundary of source, a Forward of the same windows and batches that may be f itself, and at one of
// f, as tensors [tokens, hidden] on f's recorder that are good for recording until the next call. What was recorded is waited for.
func (f *Forward) StatePair(ctx context.Context, source *Forward, lower, upper, batch int) (x, y op.Tensor, err error) {
	if !source.has(lower, []int{batch}) || !f.has(upper, []int{batch}) {
		return x, y, fmt.Errorf("model: the states at boundaries %d and %d are not both kept", lower, upper)
	}
	if err := f.r.Wait(ctx); err != nil {
		return x, y, err
	}
	if x, err = source.chunkTensor(ctx, source.states[lower][batch], f.in, batch); err != nil {
		return x, y, err
	}
	y, err = f.chunkTensor(ctx, f.states[upper][batch], f.out, batch)
	return x, y, err
}

// Hold keeps the states of all boundaries until Close, whatever model runs next, for Rewind to come back to. It is called once.
func (f *Forward) Hold() {
	for _, chunks := range f.states {
		for i := range chunks {
			chunks[i].held = true
		}
		f.held = append(f.held, slices.Clone(chunks))
	}
}

// Rewind makes the states what they were at Hold.
func (f *Forward) Rewind() {
	for l := range f.states {
		f.Drop(l)
	}
	f.states = nil
	for _, chunks := range f.held {
		f.states = append(f.states, slices.Clone(chunks))
	}
}
