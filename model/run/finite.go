package run

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// finiteCheck counts the NaNs and infinities that layers give. The counts are read when the recorder is waited for anyway.
type finiteCheck struct {
	counts *vk.Buffer // [maxCalls]
	mirror *vk.Buffer // the same where the host reads it
	calls  []layerCall
}

// maxCalls is how many calls of layers may be recorded before they are waited for.
const maxCalls = 128

// newFiniteCounts allocates the two buffers.
func newFiniteCounts(s *vk.Scope) (counts, mirror *vk.Buffer) {
	return s.Buffer("non-finite counts", 4*maxCalls, vk.OnDevice), s.Buffer("non-finite counts", 4*maxCalls, vk.ToHost)
}

// reset makes all counts 0.
func (k *finiteCheck) reset(ctx context.Context, d *vk.Device) error {
	return d.Upload(ctx, k.counts.All(), make([]byte, 4*maxCalls))
}

// add gives a call its slot.
func (k *finiteCheck) add(c layerCall) int {
	k.calls = append(k.calls, c)
	return len(k.calls) - 1
}

func (k *finiteCheck) full() bool { return len(k.calls) == maxCalls }

func (k *finiteCheck) count(r *vk.Recorder, slot int, x op.Tensor) {
	op.NonFinite(r, graph.Floats(k.counts, 1, maxCalls), slot, x)
}

// wait waits for the recorder and empties the list of calls; the counts are theirs.
func (k *finiteCheck) wait(ctx context.Context, r *vk.Recorder) (calls []layerCall, counts []uint32, err error) {
	calls, k.calls = k.calls, nil
	if len(calls) > 0 {
		r.Copy(k.mirror.All(), k.counts.All())
	}
	if err := r.Wait(ctx); err != nil {
		return calls, nil, err
	}
	for i := range calls {
		counts = append(counts, binary.LittleEndian.Uint32(k.mirror.Bytes()[4*i:]))
	}
	return calls, counts, nil
}

// explain runs the batches of a call again, operation by operation, and names the first whose result is not finite.
func (f *Forward) explain(ctx context.Context, c layerCall, count uint32) error {
	if err := f.finite.reset(ctx, f.d); err != nil {
		return err
	}
	weights, err := f.cache.Layer(ctx, f.r, c.m.Layers[c.layer])
	if err != nil {
		return err
	}
	defer f.cache.Release(c.m.Layers[c.layer])
	for _, batch := range c.batches {
		x, err := f.store.Tensor(ctx, c.layer, batch)
		if err != nil {
			return err
		}
		type value struct {
			name     string
			elements int
		}
		var seen []value
		rows, err := f.loader.Load(ctx, f.r, &f.batches[batch])
		if err != nil {
			return err
		}
		block := f.block(c, weights)
		block.Apart, block.Tap = true, func(point string, t op.Tensor) {
			if point == graph.TapQKV { // which are seen one by one
				return
			}
			f.finite.count(f.r, len(seen), t)
			seen = append(seen, value{point, t.Elements()})
		}
		block.Forward(f.r, f.store.Staging(x.Rows), x, rows)
		if err := f.r.Wait(ctx); err != nil {
			return err
		}
		raw := make([]byte, 4*len(seen))
		if err := f.d.Download(ctx, raw, f.finite.counts.View(0, int64(len(raw)))); err != nil {
			return err
		}
		for i, v := range seen {
			if n := binary.LittleEndian.Uint32(raw[4*i:]); n > 0 {
				return &NonFiniteError{c.layer, v.name, f.Corpus.Batches[batch], f.loader != nil, int(n), v.elements}
			}
		}
	}
	return &NonFiniteError{c.layer, "layer", Batch{0, f.Corpus.Batches[len(f.batches)-1].End}, f.loader != nil, int(count), 0}
}

// NonFiniteError says where a run met the first NaN or infinity.
type NonFiniteError struct {
	Layer     int
	Op        string // as mlp.down_proj
	Batch     Batch  // the windows whose values these are
	Packed    bool   // they are batches of sequences instead
	Count, Of int    // Of is 0 where the operation was not found
}

func (e *NonFiniteError) Error() string {
	of, what := "", "windows"
	if e.Packed {
		what = "batches of sequences"
	}
	if e.Of > 0 {
		of = fmt.Sprintf(" of %d", e.Of)
	}
	return fmt.Sprintf("layer %d: %s output: %d%s values are NaN or infinite (%s %d to %d)", e.Layer, e.Op, e.Count, of, what, e.Batch.Begin, e.Batch.End-1)
}

// Is tells that the error is a model.ErrLasting: the same kernels give the same values.
func (e *NonFiniteError) Is(target error) bool { return target == model.ErrLasting }
