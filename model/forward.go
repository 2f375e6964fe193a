package model

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Unscored marks a target that no loss is computed for.
const Unscored = math.MaxUint32

// Forward takes a corpus through a model layer by layer: all windows through layer l, then all through layer l+1. One layer's
// weights on the device are enough, and the hidden states at the boundaries between layers are kept, so that a model that differs
// from layer l on can be run again from there.
//
// Boundary l is what enters layer l; boundary Layers is what leaves the last one, before the final norm. Boundaries lie in device
// memory while there is room and in host memory beyond. A Forward belongs to one goroutine.
type Forward struct {
	d       *vk.Device
	r       *vk.Recorder
	config  *Config
	windows [][]uint32
	window  int // tokens each
	batches []Batch
	batch   int // windows of a full batch

	scratch scratch
	in, out *vk.Buffer // states on their way from and to host memory
	fixed   fixed
	cache   *weightCache
	room    int64     // bytes of device memory left for boundaries
	states  [][]chunk // by boundary, then by batch

	// LayersRun counts the layers that were run, LayersRun·windows the work done.
	LayersRun int
}

// Batch is a range of windows that go through a layer together.
type Batch struct{ Begin, End int }

// Windows is the number of the batch's windows.
func (b Batch) Windows() int { return b.End - b.Begin }

// chunk is the hidden states of one batch at one boundary, in one of the two memories.
type chunk struct {
	device *vk.Buffer
	host   []byte
}

// maxBatchTokens bounds a batch: beyond it larger matrices gain no speed, and a CPU's caches are left.
func maxBatchTokens(d *vk.Device) int {
	if d.Info.Kind == vk.CPU {
		return 1024
	}
	return 4096
}

// Trim drops the weights that nothing uses, to make room for other work on the device.
func (f *Forward) Trim() { f.cache.trim() }

// NewForward prepares to run windows of equal length through m, or models that With makes of it. The device's
// memory limit is divided: activations of one batch, the weights of one layer or, if there is room, two, so that the next is uploaded
// while the current one computes, and then hidden states.
func NewForward(d *vk.Device, m *Model, windows [][]uint32) (*Forward, error) {
	if len(windows) == 0 || len(windows[0]) == 0 {
		return nil, errors.New("model: no tokens to run")
	}
	f := &Forward{d: d, config: m.Config, windows: windows, window: len(windows[0])}
	for i, w := range windows {
		if len(w) != f.window {
			return nil, fmt.Errorf("model: window %d has %d tokens, window 0 has %d", i, len(w), f.window)
		}
		for _, token := range w {
			if int(token) >= m.Config.VocabSize {
				return nil, fmt.Errorf("model: window %d: token %d, the vocabulary of %s has %d", i, token, m.Name, m.Config.VocabSize)
			}
		}
	}
	if m.Config.HeadDim > op.MaxHeadDim {
		return nil, fmt.Errorf("model: %s: head_dim %d, supported are up to %d", m.Name, m.Config.HeadDim, op.MaxHeadDim)
	}
	if f.window > m.Config.MaxPositionEmbeddings {
		return nil, fmt.Errorf("model: windows of %d tokens, %s has max_position_embeddings %d", f.window, m.Name, m.Config.MaxPositionEmbeddings)
	}
	if err := f.plan(m); err != nil {
		return nil, err
	}
	if err := f.allocate(m); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// plan chooses the batch and divides the memory.
func (f *Forward) plan(m *Model) error {
	limit, used := f.d.MemoryLimit(), f.d.Memory().Reserved
	available := (limit - used) / 8 * 7 // an eighth for scores, norms and what the arena rounds up
	c, n := m.Config, int64(len(f.windows))
	available -= n * (20*int64(f.window) + 4*int64(2*c.HiddenSize+c.Heads*c.HeadDim+c.IntermediateSize)) // losses, scores
	perWindow := int64(f.window) * (c.scratchBytes() + 2*4*int64(c.HiddenSize))
	fixed := int64(f.window)*int64(c.HeadDim)*4 + int64(len(m.Norm.Data))
	var layer, tensor int64
	for _, l := range m.Layers {
		layer = max(layer, residentBytes(f.d, l.Parts[:]))
		for _, w := range l.Parts {
			tensor = max(tensor, int64(len(w.Data)))
		}
	}
	available = min(available, limit-used-4*tensor) // a merge has three tensors on the device at a time
	if fixed+perWindow+layer > available {
		return fmt.Errorf("model: %s of device memory cannot hold one window of %d tokens (%s) and one layer (%s): %w; use a shorter --window or a larger --max-device-memory",
			vk.Bytes(limit), f.window, vk.Bytes(perWindow+fixed), vk.Bytes(layer), vk.ErrOutOfMemory)
	}
	f.batch = min(len(f.windows), max(1, maxBatchTokens(f.d)/f.window))
	for f.batch > 1 && int64(f.batch)*perWindow > available/4 {
		f.batch--
	}
	for begin := 0; begin < len(f.windows); begin += f.batch {
		f.batches = append(f.batches, Batch{begin, min(begin+f.batch, len(f.windows))})
	}
	// Two layers' weights at most, however many would fit: then the memory that a run takes grows with the depth of a model by the
	// kept states only, and the uploads hide behind the computation.
	left := available - fixed - int64(f.batch)*perWindow
	weights := 2 * layer
	if weights > left {
		weights = layer
	}
	f.room = left - weights
	f.cache = newWeightCache(f.d, weights)
	return nil
}

// stateBytes is the size of one window's hidden states.
func (f *Forward) stateBytes() int64 { return int64(f.window) * int64(f.config.HiddenSize) * 4 }

func (f *Forward) allocate(m *Model) (err error) {
	if f.r, err = f.d.NewRecorder(); err != nil {
		return err
	}
	tokens := f.batch * f.window
	if f.scratch, err = newScratch(f.d, m.Config, tokens); err != nil {
		return err
	}
	for _, b := range []**vk.Buffer{&f.in, &f.out} {
		if *b, err = f.d.NewBuffer("hidden states", int64(f.batch)*f.stateBytes(), vk.OnDevice); err != nil {
			return err
		}
	}
	f.fixed, err = newFixed(f.r, m, f.window)
	return err
}

// Close frees all that the Forward holds on the device.
func (f *Forward) Close() error {
	var err error
	if f.r != nil {
		err = f.r.Close()
	}
	if f.cache != nil {
		f.cache.close()
	}
	for l := range f.states {
		f.Drop(l)
	}
	f.scratch.free(f.d)
	f.d.Free(f.in, f.out)
	f.fixed.free(f.d)
	return err
}

// Recorder is the recorder that the Forward computes on; Windows the corpus, Window the tokens of each.
func (f *Forward) Recorder() *vk.Recorder { return f.r }
func (f *Forward) Windows() [][]uint32    { return f.windows }
func (f *Forward) Window() int            { return f.window }

// Batches lists the batches, in order.
func (f *Forward) Batches() []Batch { return slices.Clone(f.batches) }

// Drop forgets the states of a boundary.
func (f *Forward) Drop(boundary int) {
	if boundary >= len(f.states) {
		return
	}
	for _, c := range f.states[boundary] {
		if c.device != nil {
			before := f.d.Memory().Reserved
			f.d.Free(c.device)
			f.room += before - f.d.Memory().Reserved
		}
	}
	f.states[boundary] = nil
}

// Has says whether the states of a boundary are there.
func (f *Forward) Has(boundary int) bool {
	return boundary < len(f.states) && f.states[boundary] != nil
}

// tensor is a batch's states on the device. Those in host memory are uploaded into the buffer in, once what was recorded is done
// with it.
func (f *Forward) tensor(ctx context.Context, boundary, batch int) (op.Tensor, error) {
	n := f.batches[batch].Windows() * f.window
	c := f.states[boundary][batch]
	if c.device != nil {
		return rows(c.device, n, f.config.HiddenSize), nil
	}
	if err := f.r.Wait(ctx); err != nil {
		return op.Tensor{}, err
	}
	t := rows(f.in, n, f.config.HiddenSize)
	return t, f.d.Upload(ctx, t.View, c.host)
}

// States gives f each batch of a boundary as a tensor [tokens, hidden] that is good for recording until f returns.
func (f *Forward) States(ctx context.Context, boundary int, visit func(b Batch, x op.Tensor) error) error {
	if !f.Has(boundary) {
		return fmt.Errorf("model: the states at boundary %d are not kept", boundary)
	}
	for i, b := range f.batches {
		x, err := f.tensor(ctx, boundary, i)
		if err != nil {
			return err
		}
		if err := visit(b, x); err != nil {
			return err
		}
	}
	return nil
}

// produce makes a boundary: for each batch, fill records what fills out. What does not fit on the device goes to host memory.
func (f *Forward) produce(ctx context.Context, boundary int, fill func(batch int, out op.Tensor) error) error {
	for len(f.states) <= boundary {
		f.states = append(f.states, nil)
	}
	f.Drop(boundary)
	chunks := make([]chunk, len(f.batches))
	f.states[boundary] = chunks
	for i, b := range f.batches {
		n := b.Windows() * f.window
		size := int64(b.Windows()) * f.stateBytes()
		buf := f.out
		if size <= f.room {
			var err error
			before := f.d.Memory().Reserved
			buf, err = f.d.NewBuffer("hidden states", size, vk.OnDevice)
			switch {
			case err == nil:
				chunks[i].device = buf
				f.room -= f.d.Memory().Reserved - before // what the arena took: a block with a hole at its end costs all of it
			case errors.Is(err, vk.ErrOutOfMemory): // the heap is fuller than its size promised: spill from here on
				f.room, buf = 0, f.out
			default:
				return err
			}
		}
		out := rows(buf, n, f.config.HiddenSize)
		if err := fill(i, out); err != nil {
			return err
		}
		if chunks[i].device == nil {
			if err := f.r.Wait(ctx); err != nil {
				return err
			}
			chunks[i].host = make([]byte, size)
			if err := f.d.Download(ctx, chunks[i].host, out.View); err != nil {
				return err
			}
		}
	}
	return f.r.Flush(ctx)
}

// Embed makes boundary 0. Only the rows of the embedding that a batch uses travel to the device.
func (f *Forward) Embed(ctx context.Context, m *Model) error {
	err := f.produce(ctx, 0, func(batch int, out op.Tensor) error {
		b := f.batches[batch]
		return embed(ctx, f.r, m.Embed, slices.Concat(f.windows[b.Begin:b.End]...), out, true)
	})
	if err != nil {
		return fmt.Errorf("model: %s: embedding: %w", m.Name, err)
	}
	return nil
}

// embed fills out with the embeddings of tokens, through a table of the rows in use only, and waits for it. check refuses rows that
// hold NaN.
func embed(ctx context.Context, r *vk.Recorder, table Weight, tokens []uint32, out op.Tensor, check bool) (err error) {
	used := slices.Clone(tokens)
	slices.Sort(used)
	used = slices.Compact(used)
	rowBytes := table.Cols * table.DType.Size()
	rowsInUse := make([]byte, 0, (len(used)*rowBytes+3)&^3)
	for _, t := range used {
		rowsInUse = append(rowsInUse, table.Data[int(t)*rowBytes:(int(t)+1)*rowBytes]...)
	}
	raw := make([]byte, 4*len(tokens))
	for i, t := range tokens {
		row, _ := slices.BinarySearch(used, t)
		binary.LittleEndian.PutUint32(raw[4*i:], uint32(row))
	}
	d := r.Device()
	var bufs [2]*vk.Buffer
	defer func() { d.Free(bufs[:]...) }()
	for i, data := range [][]byte{rowsInUse, raw} {
		if bufs[i], err = d.NewBuffer([]string{"embedding rows", "token ids"}[i], int64(len(data)), vk.OnDevice); err != nil {
			return err
		}
		if err = d.Upload(ctx, bufs[i].All(), data); err != nil {
			return err
		}
	}
	inUse := op.Of(bufs[0].All(), table.DType, len(used), table.Cols)
	if check {
		if err := checkFinite(ctx, r, []op.Tensor{inUse}, []Weight{table}); err != nil {
			return err
		}
	}
	op.Embedding(r, out, inUse, op.Of(bufs[1].All(), dtype.F32, 1, len(tokens)), 0)
	return r.Wait(ctx)
}

// FinalNorm records the final norm of a batch of states, good until the next layer or FinalNorm is recorded.
func (f *Forward) FinalNorm(m *Model, x op.Tensor) op.Tensor {
	y := rows(f.scratch.norm, x.Rows, x.Cols)
	op.RMSNorm(f.r, y, x, f.fixed.norm, float32(m.Config.RMSNormEps))
	return y
}

// Step is what a layer's visitor sees of one batch: everything is on the device and good for recording until the visitor returns.
type Step struct {
	Layer   int
	Batch   Batch
	Weights []op.Tensor // by Part
	In, Out op.Tensor   // [tokens, hidden] before and after the layer
	activations
}

// Layer runs layer l of m on boundary l and makes boundary l+1. visit, if not nil, may record more work on each batch. When Layer
// returns, all of it is done; done, if not nil, is called before that with the layer's weights still on the device.
func (f *Forward) Layer(ctx context.Context, m *Model, l int, visit func(Step) error, done func(weights []op.Tensor) error) error {
	err := f.layer(ctx, m, l, visit, done)
	if err != nil {
		return fmt.Errorf("model: %s: layer %d: %w", m.Name, l, err)
	}
	return nil
}

func (f *Forward) layer(ctx context.Context, m *Model, l int, visit func(Step) error, done func(weights []op.Tensor) error) error {
	if !f.Has(l) {
		return fmt.Errorf("the states at boundary %d are not kept", l)
	}
	layer := m.Layers[l]
	weights, err := f.cache.layer(ctx, f.r, layer)
	if err != nil {
		return err
	}
	defer f.cache.release(layer)
	if l+1 < len(m.Layers) {
		next := m.Layers[l+1]
		f.cache.prefetch(ctx, next, next.Parts[:])
	}
	err = f.produce(ctx, l+1, func(batch int, out op.Tensor) error {
		x, err := f.tensor(ctx, l, batch)
		if err != nil {
			return err
		}
		a := forwardLayer(f.r, m.Config, l, weights, &f.scratch, out, x, f.fixed.rope, f.window, nil)
		if visit == nil {
			return f.r.Err()
		}
		return errors.Join(f.r.Err(), visit(Step{l, f.batches[batch], weights, x, out, a}))
	})
	if err == nil && done != nil {
		err = done(weights)
	}
	f.LayersRun++
	// The weights may go, and a cancelled run must not free what the device still uses.
	return errors.Join(err, f.r.Wait(ctx))
}
