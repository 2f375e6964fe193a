package model

import (
	"context"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// headUnit is how many columns of logits are folded into a token's loss at a time, and what tiles of the LM head are multiples of.
// It is fixed, whatever the memory: the last bits of a streamed softmax depend on where it is cut.
const headUnit = 1024

// headTile is the key of rows of an LM head that are on the device, by the head's number among those that are streamed together.
type headTile struct{ head, begin, end int }

// headTiles calls visit with the LM head tile by tile, each as large as half the cache's budget allows, the next on its way while
// the current one is used. The recorder is waited for after each.
func headTiles(ctx context.Context, c *weightCache, r *vk.Recorder, m *Model, visit func(first int, w op.Tensor) error) error {
	return headTilesOf(ctx, c, r, []*Model{m}, func(first int, w []op.Tensor) error { return visit(first, w[0]) })
}

// headTilesOf is headTiles for the LM heads of several models, which have the same number of rows: visit gets the same rows of each.
// The heads of a cache are always these.
func headTilesOf(ctx context.Context, c *weightCache, r *vk.Recorder, models []*Model, visit func(first int, w []op.Tensor) error) error {
	rowBytes, rows := 0, models[0].Head.Rows
	for _, m := range models {
		rowBytes += m.Head.Cols * m.Head.DType.Size()
	}
	step := max(headUnit, int(c.budget/2/int64(rowBytes))/headUnit*headUnit)
	tile := func(head, begin int) (headTile, []Weight) {
		end := min(begin+step, rows)
		return headTile{head, begin, end}, []Weight{models[head].Head.rows(begin, end)}
	}
	tensors := make([]op.Tensor, len(models))
	visitTile := func(begin int) (err error) {
		var keys []headTile
		defer func() {
			for _, key := range keys {
				c.release(key)
			}
		}()
		for i, m := range models {
			key, weights := tile(i, begin)
			w, err := c.acquire(ctx, key, weights)
			if err != nil {
				return fmt.Errorf("model: %s: LM head: %w", m.Name, err)
			}
			keys, tensors[i] = append(keys, key), w[0]
		}
		for i, m := range models {
			key, weights := tile(i, begin)
			if key.end < rows {
				next, nextWeights := tile(i, key.end)
				c.prefetch(ctx, next, nextWeights)
			}
			if !c.checked[key] {
				if err := checkFinite(ctx, r, tensors[i:i+1], weights); err != nil {
					return fmt.Errorf("model: %s: LM head: %w", m.Name, err)
				}
				c.checked[key] = true
			}
		}
		if err := errors.Join(visit(begin, tensors), r.Wait(ctx)); err != nil {
			return fmt.Errorf("model: %s: LM head: %w", models[0].Name, err)
		}
		return nil
	}
	for begin := 0; begin < rows; begin += step {
		if err := visitTile(begin); err != nil {
			return err
		}
	}
	return nil
}

// logitRows is how many tokens' logits are on the device at a time, headUnit columns of each: a multiple of 64, so that the next
// rows of any tensor start at an offset that can be bound.
func (f *Forward) logitRows() int {
	fit := int(f.d.MemoryLimit()/64/(4*headUnit)) / 64 * 64
	return min(max(64, fit), (f.batch*f.window+63)/64*64)
}

// slice is elements [begin, end) of a vector.
func slice(t op.Tensor, begin, end int) op.Tensor {
	return op.Of(t.View.Slice(4*int64(begin), 4*int64(end-begin)), dtype.F32, 1, end-begin)
}

// Loss computes the cross-entropy of every token of the corpus given those before it in its window, from the last boundary. Element
// [w][t] is the negative log-likelihood of token t+1 of window w in nats; a window of S tokens has S−1.
func (f *Forward) Loss(ctx context.Context, m *Model) ([][]float32, error) {
	if !f.Has(len(m.Layers)) {
		return nil, fmt.Errorf("model: the states at boundary %d are not kept", len(m.Layers))
	}
	loss, err := f.losses(ctx, m, [][]chunk{f.states[len(m.Layers)]})
	if err != nil {
		return nil, err
	}
	return loss[0], nil
}

// losses is Loss for several sets of states that left the last layer, whose tiles of the LM head are uploaded once for all.
func (f *Forward) losses(ctx context.Context, m *Model, ends [][]chunk) (loss [][][]float32, err error) {
	batches := make([]headRows, len(ends)*len(f.batches)) // by set, then by batch
	for i := range batches {
		b := i % len(f.batches)
		batches[i] = headRows{chunk: ends[i/len(f.batches)][b], batch: b, targets: targets(f.windows[f.batches[b].Begin:f.batches[b].End])}
	}
	loss = make([][][]float32, len(ends))
	err = f.foldHead(ctx, m, batches, func(i int, s scored) error {
		op.CrossEntropy(f.r, s.loss, s.state, s.targets)
		if err := f.r.Wait(ctx); err != nil {
			return err
		}
		all := make([]float32, s.loss.Cols)
		if err := download(ctx, f.d, all, s.loss); err != nil {
			return err
		}
		set := &loss[i/len(f.batches)]
		for w := range f.batches[i%len(f.batches)].Windows() {
			*set = append(*set, all[w*f.window:(w+1)*f.window-1])
		}
		return nil
	})
	return loss, err
}

// headRows are rows of a batch's last states whose targets the LM head is to score.
type headRows struct {
	chunk   chunk
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
func (f *Forward) foldHead(ctx context.Context, m *Model, batches []headRows, use func(i int, s scored) error) (err error) {
	var bufs []*vk.Buffer
	defer func() {
		err = errors.Join(err, f.r.Wait(context.WithoutCancel(ctx)))
		f.d.Free(bufs...)
	}()
	alloc := func(name string, rows, cols int, values []uint32) (op.Tensor, error) {
		b, err := f.d.NewBuffer(name, 4*int64(rows)*int64(cols), vk.OnDevice)
		if err != nil {
			return op.Tensor{}, err
		}
		bufs = append(bufs, b)
		if values != nil {
			err = f.d.Upload(ctx, b.All(), words(values))
		}
		return op.Of(b.All(), dtype.F32, rows, cols), err
	}
	all := make([]scored, len(batches))
	for i, b := range batches {
		n := len(b.targets)
		s := &all[i]
		var errs [4]error
		s.state, errs[0] = alloc("cross-entropy state", n, 3, nil)
		s.targets, errs[1] = alloc("targets", 1, n, b.targets)
		s.loss, errs[2] = alloc("losses", 1, n, nil)
		if b.rows != nil {
			s.rows, errs[3] = alloc("scored rows", 1, n, b.rows)
		}
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
	}
	step := f.logitRows()
	logits, err := alloc("logits", step, headUnit, nil)
	if err != nil {
		return err
	}
	err = headTiles(ctx, f.cache, f.r, m, func(first int, w op.Tensor) error {
		for i, s := range all {
			x, err := f.chunkTensor(ctx, batches[i].chunk, f.in, batches[i].batch)
			if err != nil {
				return err
			}
			most := x.Rows
			if !s.rows.IsZero() {
				most = f.batch * f.window / 64 * 64
			}
			for at := 0; at < s.state.Rows; at += most { // as many rows as there is room for
				end := min(at+most, s.state.Rows)
				part := x
				if !s.rows.IsZero() {
					part = rows(f.out, end-at, x.Cols)
					op.GatherRows(f.r, part, 0, x, slice(s.rows, at, end))
				}
				norm := f.FinalNorm(m, part)
				for begin := at; begin < end; begin += step {
					next := min(begin+step, end)
					op.LMHeadLoss(f.r, s.state.RowRange(begin, next), op.Of(logits.View, dtype.F32, next-begin, headUnit), norm.RowRange(begin-at, next-at), w,
						slice(s.targets, begin, next), first)
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

// targets gives each token's successor in its window, Unscored for the last.
func targets(windows [][]uint32) []uint32 {
	var list []uint32
	for _, w := range windows {
		list = append(append(list, w[1:]...), Unscored)
	}
	return list
}

func download(ctx context.Context, d *vk.Device, dst []float32, t op.Tensor) error {
	raw := make([]byte, t.Size())
	if err := d.Download(ctx, raw, t.View); err != nil {
		return err
	}
	t.DType.Decode(dst, raw)
	return nil
}

// Logits computes the logits of every position from the last boundary and hands them out window by window, [window, vocab_size]
// row-major, valid until visit returns.
func (f *Forward) Logits(ctx context.Context, m *Model, visit func(window int, logits []float32) error) error {
	vocab, columns := m.Head.Rows, min(headUnit, m.Head.Rows)
	buf, err := f.d.NewBuffer("logits", 4*int64(f.window)*int64(columns), vk.OnDevice)
	if err != nil {
		return err
	}
	defer f.d.Free(buf)
	all, part := make([]float32, f.window*vocab), make([]float32, f.window*columns)
	norms := make([]byte, 4*f.window*m.Config.HiddenSize)
	return f.States(ctx, len(m.Layers), func(b Batch, x op.Tensor) error {
		norm := f.FinalNorm(m, x)
		if err := f.r.Wait(ctx); err != nil {
			return err
		}
		one := rows(f.out, f.window, x.Cols)
		for w := range b.Windows() {
			// A window's rows need not start where a binding may: they take the way over the host, beside which logits are large.
			if err := f.d.Download(ctx, norms, norm.View.Slice(int64(w)*f.stateBytes(), f.stateBytes())); err != nil {
				return err
			}
			if err := f.d.Upload(ctx, one.View, norms); err != nil {
				return err
			}
			err := headTiles(ctx, f.cache, f.r, m, func(first int, head op.Tensor) error {
				for begin := 0; begin < head.Rows; begin += columns {
					end := min(begin+columns, head.Rows)
					n := end - begin
					y := rows(buf, f.window, n)
					op.LinearFused(f.r, y, one, head.RowRange(begin, end), op.Fused{Batch: true})
					if err := f.r.Wait(ctx); err != nil {
						return err
					}
					if err := download(ctx, f.d, part[:f.window*n], y); err != nil {
						return err
					}
					for t := range f.window {
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

// Run takes the corpus through the whole model, keeping only the last boundary; progress, if not nil, is called after each layer.
func (f *Forward) Run(ctx context.Context, m *Model, progress func(done, total int)) error {
	if err := f.Embed(ctx, m); err != nil {
		return err
	}
	for l := range m.Layers {
		if err := f.Layer(ctx, m, l, nil); err != nil {
			return err
		}
		f.Drop(l)
		if progress != nil {
			progress(l+1, len(m.Layers))
		}
	}
	return nil
}
