package model

import (
	"context"
	"encoding/binary"
	"fmt"

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

func (k *finiteCheck) allocate(d *vk.Device) (err error) {
	if k.counts, err = d.NewBuffer("non-finite counts", 4*maxCalls, vk.OnDevice); err != nil {
		return err
	}
	if k.mirror, err = d.NewBuffer("non-finite counts", 4*maxCalls, vk.ToHost); err != nil {
		return err
	}
	return d.Upload(context.Background(), k.counts.All(), make([]byte, 4*maxCalls))
}

func (k *finiteCheck) free(d *vk.Device) { d.Free(k.counts, k.mirror) }

// add gives a call its slot.
func (k *finiteCheck) add(c layerCall) int {
	k.calls = append(k.calls, c)
	return len(k.calls) - 1
}

func (k *finiteCheck) full() bool { return len(k.calls) == maxCalls }

func (k *finiteCheck) count(r *vk.Recorder, slot int, x op.Tensor) {
	op.NonFinite(r, rows(k.counts, 1, maxCalls), slot, x)
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
	if err := f.d.Upload(ctx, f.finite.counts.All(), make([]byte, 4*maxCalls)); err != nil {
		return err
	}
	weights, err := f.cache.layer(ctx, f.r, c.m.Layers[c.layer])
	if err != nil {
		return err
	}
	defer f.cache.release(c.m.Layers[c.layer])
	for _, batch := range c.batches {
		x, err := f.tensor(ctx, c.layer, batch)
		if err != nil {
			return err
		}
		type value struct {
			name     string
			elements int
		}
		var seen []value
		run := layerRun{probe: func(name string, t op.Tensor) {
			f.finite.count(f.r, len(seen), t)
			seen = append(seen, value{name, t.Elements()})
		}}
		if run.pack, err = f.loadPack(ctx, batch); err != nil {
			return err
		}
		run.record(f.r, c.m.Config, c.layer, weights, &f.scratch, rows(f.out, x.Rows, x.Cols), x, f.fixed.rope, f.window)
		if err := f.r.Wait(ctx); err != nil {
			return err
		}
		raw := make([]byte, 4*len(seen))
		if err := f.d.Download(ctx, raw, f.finite.counts.View(0, int64(len(raw)))); err != nil {
			return err
		}
		for i, v := range seen {
			if n := binary.LittleEndian.Uint32(raw[4*i:]); n > 0 {
				return &NonFiniteError{c.layer, v.name, f.batches[batch], f.packed != nil, int(n), v.elements}
			}
		}
	}
	return &NonFiniteError{c.layer, "layer", Batch{0, f.batches[len(f.batches)-1].End}, f.packed != nil, int(count), 0}
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
