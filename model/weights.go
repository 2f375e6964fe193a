package model

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// resident is a set of weights on the device, in one buffer.
type resident struct {
	buf     *vk.Buffer
	tensors []op.Tensor
	size    int64
	users   int
	used    int           // the cache's clock at the last use
	ready   chan struct{} // closed when the upload has ended, with err
	err     error
}

// weightCache keeps the weights of layers on the device within a budget, the least recently used going first. Uploads run in the
// background, so that the next layer's travel while the current one computes.
type weightCache struct {
	d       *vk.Device
	budget  int64
	mu      sync.Mutex
	entries map[any]*resident
	checked map[any]bool // keys other than layers whose weights were found free of NaN
	used    int64
	clock   int

	uploaded, uploading atomic.Int64 // bytes, and nanoseconds that they took
	waited              time.Duration
}

func newWeightCache(d *vk.Device, budget int64) *weightCache {
	return &weightCache{d: d, budget: budget, entries: map[any]*resident{}, checked: map[any]bool{}}
}

// residentBytes is what a set of weights takes at most: each tensor starts at an offset that can be bound, unless it is joined with
// the one before.
func residentBytes(d *vk.Device, weights []Weight) int64 {
	var n int64
	for _, w := range weights {
		n += aligned(d, w.Size())
	}
	return n
}

func aligned(d *vk.Device, n int64) int64 {
	a := max(d.Limits().OffsetAlignment, 4)
	return (n + a - 1) / a * a
}

// prefetch starts the upload of weights known by key, unless they are there or there is no room beside what is in use.
func (c *weightCache) prefetch(ctx context.Context, key any, weights []Weight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start(ctx, key, weights, false)
}

// start finds or begins an entry; it returns nil where there is no room. must makes it go beyond the budget rather than give up.
func (c *weightCache) start(ctx context.Context, key any, weights []Weight, must bool) *resident {
	c.clock++
	if e := c.entries[key]; e != nil {
		e.used = c.clock
		return e
	}
	e := &resident{size: residentBytes(c.d, weights), used: c.clock, ready: make(chan struct{})}
	for c.used+e.size > c.budget && c.evict(anything) {
	}
	if c.used+e.size > c.budget && !must {
		return nil
	}
	e.buf, e.err = c.d.NewBuffer("weights", e.size, vk.OnDevice)
	for errors.Is(e.err, vk.ErrOutOfMemory) && c.evict(anything) { // the heap is fuller than its size promised
		e.buf, e.err = c.d.NewBuffer("weights", e.size, vk.OnDevice)
	}
	if e.err != nil {
		close(e.ready)
		return e
	}
	c.entries[key] = e
	c.used += e.size
	ctx = context.WithoutCancel(ctx) // others than the caller may wait for it, or the caller with another context
	go func() {
		defer close(e.ready)
		begin := time.Now()
		var at int64
		defer func() {
			c.uploaded.Add(at)
			c.uploading.Add(int64(time.Since(begin)))
		}()
		places := layout(c.d, weights, partJoins) // by Part, or one tile of the LM head
		for i, w := range weights {
			if w.IsZero() {
				e.tensors = append(e.tensors, op.Tensor{})
				continue
			}
			at = places[i]
			v := e.buf.View(at, w.Size())
			e.tensors = append(e.tensors, op.Of(v, w.DType, w.Rows, w.Cols))
			if e.err = w.Put(ctx, c.d, v); e.err != nil {
				return
			}
			at += w.Size()
		}
	}()
	return e
}

// evict drops the least recently used entry that may go, that nobody uses and whose upload has ended.
func (c *weightCache) evict(may func(key any) bool) bool {
	var oldest any
	for key, e := range c.entries {
		if e.users == 0 && may(key) && (oldest == nil || e.used < c.entries[oldest].used) {
			oldest = key
		}
	}
	if oldest == nil {
		return false
	}
	e := c.entries[oldest]
	<-e.ready
	c.d.Free(e.buf)
	c.used -= e.size
	delete(c.entries, oldest)
	return true
}

func anything(any) bool { return true }

// acquire returns the tensors of weights known by key when they are on the device; release gives them back once nothing recorded
// uses them any more.
func (c *weightCache) acquire(ctx context.Context, key any, weights []Weight) ([]op.Tensor, error) {
	c.mu.Lock()
	e := c.start(ctx, key, weights, true)
	e.users++
	c.mu.Unlock()
	begin := time.Now()
	<-e.ready
	c.waited += time.Since(begin)
	if e.err != nil {
		c.mu.Lock()
		e.users--
		if c.entries[key] == e {
			delete(c.entries, key)
			c.used -= e.size
			c.d.Free(e.buf)
		}
		c.mu.Unlock()
		return nil, e.err
	}
	return e.tensors, nil
}

// layer is acquire for a decoder layer, which is refused with its first NaN.
func (c *weightCache) layer(ctx context.Context, r *vk.Recorder, l *Layer) ([]op.Tensor, error) {
	weights, err := c.acquire(ctx, l, l.Parts[:])
	if err != nil || l.finite.Load() {
		return weights, err
	}
	if err := checkFinite(ctx, r, weights, l.Parts[:]); err != nil {
		c.release(l)
		return nil, err
	}
	l.finite.Store(true)
	return weights, nil
}

func (c *weightCache) release(key any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[key].users--
}

// holds says whether a key's weights are on the device, or on their way.
func (c *weightCache) holds(key any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[key] != nil
}

// trim drops what may go and nobody uses.
func (c *weightCache) trim(may func(key any) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.evict(may) {
	}
}

func (c *weightCache) close() {
	for _, e := range c.entries {
		e.users = 0
	}
	c.trim(anything)
}

// fixed is what every run of a model keeps on the device: rotary or learned positions, of which the other is absent, and the final
// norm, with a bias or without.
type fixed struct {
	rope, positions, norm, normBias op.Tensor
	bufs                            []*vk.Buffer
}

// fixedBytes is its size on the device, but for what aligns it.
func fixedBytes(m *Model, positions int) int64 {
	row := int64(m.Config.HeadDim) * 4
	if m.Config.LearnedPositions {
		row = int64(m.Config.HiddenSize) * int64(m.Positions.DType.Size())
	}
	return int64(positions)*row + m.Norm.Size() + m.NormBias.Size()
}

func newFixed(r *vk.Recorder, m *Model, positions int) (f fixed, err error) {
	d, ctx := r.Device(), context.Background()
	rope, table := Weight{}, Weight{}
	if m.Config.LearnedPositions {
		table = m.Positions.rows(positionOffset, positionOffset+positions)
	} else {
		values := RopeTable(m.Config, positions)
		rope = Weight{Name: "rotary positions", DType: dtype.F32, Rows: positions, Cols: m.Config.HeadDim, Data: make([]byte, 4*len(values))}
		dtype.F32.Encode(rope.Data, values)
	}
	for _, c := range []struct {
		to *op.Tensor
		w  Weight
	}{{&f.rope, rope}, {&f.positions, table}, {&f.norm, m.Norm}, {&f.normBias, m.NormBias}} {
		if c.w.IsZero() || err != nil {
			continue
		}
		if *c.to, err = f.put(ctx, d, c.w); err == nil {
			err = checkFinite(ctx, r, []op.Tensor{*c.to}, []Weight{c.w})
		}
	}
	if err != nil {
		f.free(d)
		return f, fmt.Errorf("model: %s: %w", m.Name, err)
	}
	return f, nil
}

func (f *fixed) put(ctx context.Context, d *vk.Device, w Weight) (op.Tensor, error) {
	b, err := d.NewBuffer(w.Name, w.Size(), vk.OnDevice)
	if err != nil {
		return op.Tensor{}, err
	}
	f.bufs = append(f.bufs, b)
	return op.Of(b.All(), w.DType, w.Rows, w.Cols), w.Put(ctx, d, b.All())
}

func (f *fixed) free(d *vk.Device) {
	d.Free(f.bufs...)
	f.bufs = nil
}

// checkFinite refuses weights that hold NaN or infinity, counted on the device. Parts that are joined are counted with the first of
// them, at whose offset they can be bound.
func checkFinite(ctx context.Context, r *vk.Recorder, tensors []op.Tensor, weights []Weight) error {
	d := r.Device()
	buf, err := d.NewBuffer("non-finite counts", int64(4*len(weights)), vk.OnDevice)
	if err != nil {
		return err
	}
	defer d.Free(buf)
	raw := make([]byte, 4*len(weights))
	if err := d.Upload(ctx, buf.All(), raw); err != nil {
		return err
	}
	counts := op.Of(buf.All(), dtype.F32, 1, len(weights))
	for i := 0; i < len(tensors); i++ {
		slot, t := i, tensors[i]
		for ; i+1 < len(tensors) && Part(i+1).joins(); i++ {
			if !t.IsZero() {
				t.View = t.View.Through(tensors[i+1].View)
				t.Rows, t.Cols = 1, t.Elements()+tensors[i+1].Elements()
			}
		}
		if !t.IsZero() {
			op.NonFinite(r, counts, slot, t)
		}
	}
	if err := r.Wait(ctx); err != nil {
		return err
	}
	if err := d.Download(ctx, raw, buf.All()); err != nil {
		return err
	}
	for i := range weights {
		if binary.LittleEndian.Uint32(raw[4*i:]) == 0 {
			continue
		}
		for _, w := range weights[i:] { // which of the joined ones
			if n := nonFinite(w); n > 0 {
				return fmt.Errorf("tensor %s: %d of %d values are NaN or infinite", w.Name, n, w.Rows*w.Cols)
			}
		}
	}
	return nil
}

// nonFinite counts the values of a tensor that are NaN or infinite, on the host; of one that is made on the device it says all.
func nonFinite(w Weight) int {
	if w.Data == nil {
		return w.Rows * w.Cols // a driver's fault, if it ever comes to that
	}
	values := make([]float32, w.Rows*w.Cols)
	w.DType.Decode(values, w.Data)
	n := 0
	for _, v := range values {
		if v-v != 0 {
			n++
		}
	}
	return n
}
