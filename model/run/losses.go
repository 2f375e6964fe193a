package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/vk"
)

// logitRows is how many tokens' logits are on the device at a time, graph.HeadUnit columns of each: a multiple of 64, so that the next
// rows of any tensor start at an offset that can be bound.
func (f *Forward) logitRows() int {
	fit := int(f.d.MemoryLimit()/64/(4*graph.HeadUnit)) / 64 * 64
	return min(max(64, fit), (f.Corpus.Most+63)/64*64)
}

// Loss computes the cross-entropy of every token of the corpus given those before it in its window, from the last boundary. Element
// [w][t] is the negative log-likelihood of token t+1 of window w in nats; a window of S tokens has S−1.
func (f *Forward) Loss(ctx context.Context, m *model.Model) ([][]float32, error) {
	if err := f.store.Need(len(m.Layers)); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	loss, err := f.losses(ctx, m, []states.Boundary{f.store.At(len(m.Layers))})
	if err != nil {
		return nil, err
	}
	return loss[0], nil
}

// losses is Loss for several sets of states that left the last layer, whose tiles of the LM head are uploaded once for all.
func (f *Forward) losses(ctx context.Context, m *model.Model, ends []states.Boundary) (loss [][][]float32, err error) {
	batches := make([]headRows, len(ends)*len(f.batches)) // by set, then by batch
	for i := range batches {
		b := i % len(f.batches)
		batches[i] = headRows{states: ends[i/len(f.batches)], batch: b, targets: f.Corpus.Targets(b)}
	}
	loss = make([][][]float32, len(ends))
	err = f.foldHead(ctx, m, batches, func(i int, s scored) error {
		op.CrossEntropy(f.r, s.loss, s.state, s.targets)
		if err := f.r.Wait(ctx); err != nil {
			return err
		}
		all := make([]float32, s.loss.Cols)
		if err := graph.Read(ctx, f.d, all, s.loss); err != nil {
			return err
		}
		set := &loss[i/len(f.batches)]
		for w := range f.Corpus.Batches[i%len(f.batches)].Windows() {
			*set = append(*set, all[w*f.Corpus.Window:(w+1)*f.Corpus.Window-1])
		}
		return nil
	})
	return loss, err
}

// headRows are rows of a batch's last states whose targets the LM head is to score.
type headRows struct {
	states  states.Boundary
	batch   int
	rows    []uint32 // one for each target; nil: all
	targets []uint32
}

// scored is what the LM head makes of headRows.
type scored struct {
	rows    op.Tensor // [1, n]; absent: all
	state   op.Tensor // [n, 3], see op.CrossEntropyTile
	targets op.Tensor // [1, n]
	loss    op.Tensor // [1, n], for use
}

// foldHead takes batches through the LM head, whose tiles are uploaded once for all, and calls use with what came of each.
func (f *Forward) foldHead(ctx context.Context, m *model.Model, batches []headRows, use func(i int, s scored) error) (err error) {
	scope := f.d.NewScope()
	defer func() {
		err = errors.Join(err, f.r.Wait(context.WithoutCancel(ctx)))
		scope.Free()
	}()
	alloc := func(name string, rows, cols int, values []uint32) op.Tensor {
		t := graph.Floats(scope.Buffer(name, 4*int64(rows)*int64(cols), vk.OnDevice), rows, cols)
		if values != nil && scope.Live() {
			scope.Fail(f.d.Upload(ctx, t.View, graph.Words(values)))
		}
		return t
	}
	all := make([]scored, len(batches))
	for i, b := range batches {
		n := len(b.targets)
		s := &all[i]
		s.state, s.targets, s.loss = alloc("cross-entropy state", n, 3, nil), alloc("targets", 1, n, b.targets), alloc("losses", 1, n, nil)
		if b.rows != nil {
			s.rows = alloc("scored rows", 1, n, b.rows)
		}
	}
	step := f.logitRows()
	logits := alloc("logits", step, graph.HeadUnit, nil)
	if err := scope.Err(); err != nil {
		return err
	}
	err = graph.HeadTiles(ctx, f.cache, f.r, m, func(first int, w op.Tensor) error {
		for i, s := range all {
			x, err := f.store.UploadHere(ctx, batches[i].states, batches[i].batch)
			if err != nil {
				return err
			}
			most := x.Rows
			if !s.rows.IsZero() {
				most = f.Corpus.Most / 64 * 64
			}
			for at := 0; at < s.state.Rows; at += most { // as many rows as there is room for
				end := min(at+most, s.state.Rows)
				part := x
				if !s.rows.IsZero() {
					part = f.store.Staging(end - at)
					op.GatherRows(f.r, part, 0, x, graph.Slice(s.rows, at, end))
				}
				norm := f.FinalNorm(m, part)
				for begin := at; begin < end; begin += step {
					next := min(begin+step, end)
					part := norm.RowRange(begin-at, next-at)
					op.LMHeadLoss(f.r, s.state.RowRange(begin, next), op.Of(logits.View, dtype.F32, next-begin, graph.HeadUnit), part,
						graph.Slice(s.targets, begin, next), first, graph.HeadOf(m.Config, w, f.scratch.Spare(), part))
				}
			}
			if err := f.r.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	for i, s := range all {
		if err == nil {
			err = use(i, s)
		}
	}
	return err
}

// Targets gives each token's successor in its window, Unscored for the last, of a batch.
func (c Corpus) Targets(batch int) []uint32 {
	var list []uint32
	for _, w := range c.Windows[c.Batches[batch].Begin:c.Batches[batch].End] {
		list = append(append(list, w[1:]...), Unscored)
	}
	return list
}

// Logits computes the logits of every position from the last boundary and hands them out window by window, [window, vocab_size]
// row-major, valid until visit returns.
func (f *Forward) Logits(ctx context.Context, m *model.Model, visit func(window int, logits []float32) error) error {
	vocab, columns := m.Top[arch.Head].Rows, min(graph.HeadUnit, m.Top[arch.Head].Rows)
	buf, err := f.d.NewBuffer("logits", 4*int64(f.Corpus.Window)*int64(columns), vk.OnDevice)
	if err != nil {
		return err
	}
	defer f.d.Free(buf)
	all, part := make([]float32, f.Corpus.Window*vocab), make([]float32, f.Corpus.Window*columns)
	norms := make([]byte, 4*f.Corpus.Window*m.Config.HiddenSize)
	stateBytes := 4 * int64(f.Corpus.Window) * int64(m.Config.HiddenSize)
	return f.store.Visit(ctx, len(m.Layers), func(batch int, x op.Tensor) error {
		b := f.Corpus.Batches[batch]
		norm := f.FinalNorm(m, x)
		if err := f.r.Wait(ctx); err != nil {
			return err
		}
		one := f.store.Staging(f.Corpus.Window)
		for w := range b.Windows() {
			// A window's rows need not start where a binding may: they take the way over the host, beside which logits are large.
			if err := f.d.Download(ctx, norms, norm.View.Slice(int64(w)*stateBytes, stateBytes)); err != nil {
				return err
			}
			if err := f.d.Upload(ctx, one.View, norms); err != nil {
				return err
			}
			err := graph.HeadTiles(ctx, f.cache, f.r, m, func(first int, head op.Tensor) error {
				for begin := 0; begin < head.Rows; begin += columns {
					end := min(begin+columns, head.Rows)
					n := end - begin
					y := graph.Floats(buf, f.Corpus.Window, n)
					op.LinearFused(f.r, y, one, head.RowRange(begin, end), op.Fused{Batch: true})
					graph.LogitsOf(m.Config).Record(f.r, y)
					if err := f.r.Wait(ctx); err != nil {
						return err
					}
					if err := graph.Read(ctx, f.d, part[:f.Corpus.Window*n], y); err != nil {
						return err
					}
					for t := range f.Corpus.Window {
						copy(all[t*vocab+first+begin:], part[t*n:(t+1)*n])
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			if err := visit(b.Begin+w, all); err != nil {
				return err
			}
		}
		return nil
	})
}
