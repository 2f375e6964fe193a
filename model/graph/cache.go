package graph

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vkcome/vkcome/model"
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

// Cache keeps the weights of layers on the device within a budget, the least recently used going first. Uploads run in the
// background, so that the next layer's travel while the current one computes.
type Cache struct {
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

// NewCache is a cache of at most budget bytes.
func NewCache(d *vk.Device, budget int64) *Cache {
	return &Cache{d: d, budget: budget, entries: map[any]*resident{}, checked: map[any]bool{}}
}

// Prefetch starts the upload of weights known by key, unless they are there or there is no room beside what is in use.
func (c *Cache) Prefetch(ctx context.Context, key any, weights []model.Weight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start(ctx, key, weights, false)
}

// start finds or begins an entry; it returns nil where there is no room. must makes it go beyond the budget rather than give up.
func (c *Cache) start(ctx context.Context, key any, weights []model.Weight, must bool) *resident {
	c.clock++
	if e := c.entries[key]; e != nil {
		e.used = c.clock
		return e
	}
	places, bytes := Layout(c.d, weights, RoleJoins) // by role, or one tile of the LM head
	e := &resident{size: bytes, used: c.clock, ready: make(chan struct{})}
	for c.used+e.size > c.budget && c.evict(Anything) {
	}
	if c.used+e.size > c.budget && !must {
		return nil
	}
	e.buf, e.err = c.d.NewBuffer("weights", e.size, vk.OnDevice)
	for errors.Is(e.err, vk.ErrOutOfMemory) && c.evict(Anything) { // the heap is fuller than its size promised
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
		for i, w := range weights {
			if w.IsZero() {
				e.tensors = append(e.tensors, op.Tensor{})
				continue
			}
			at = places[i]
			v := e.buf.View(at, w.Size())
			e.tensors = append(e.tensors, op.Of(v, w.DType, w.Rows, w.Cols))
			if e.err = Put(ctx, c.d, v, w); e.err != nil {
				return
			}
			at += w.Size()
		}
	}()
	return e
}

// evict drops the least recently used entry that may go, that nobody uses and whose upload has ended.
func (c *Cache) evict(may func(key any) bool) bool {
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

// Anything may go.
func Anything(any) bool { return true }

// Acquire returns the tensors of weights known by key when they are on the device; Release gives them back once nothing recorded
// uses them any more.
func (c *Cache) Acquire(ctx context.Context, key any, weights []model.Weight) ([]op.Tensor, error) {
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

// Layer is Acquire for a decoder layer, which is refused with its first NaN.
func (c *Cache) Layer(ctx context.Context, r *vk.Recorder, l *model.Layer) ([]op.Tensor, error) {
	weights, err := c.Acquire(ctx, l, l.Weights[:])
	if err != nil || l.Finite() {
		return weights, err
	}
	if err := CheckFinite(ctx, r, weights, l.Weights[:]); err != nil {
		c.Release(l)
		return nil, err
	}
	l.SetFinite()
	return weights, nil
}

// Release says that a user of the weights known by key is done with them.
func (c *Cache) Release(key any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[key].users--
}

// Holds says whether a key's weights are on the device, or on their way.
func (c *Cache) Holds(key any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[key] != nil
}

// Trim drops what may go and nobody uses.
func (c *Cache) Trim(may func(key any) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.evict(may) {
	}
}

// Close drops all, whoever uses it.
func (c *Cache) Close() {
	for _, e := range c.entries {
		e.users = 0
	}
	c.Trim(Anything)
}

// CacheStats is what uploads took.
type CacheStats struct {
	Uploaded  int64         // bytes
	Uploading time.Duration // in the background
	Waited    time.Duration // that somebody stood still for them
}

// Stats is what was done so far.
func (c *Cache) Stats() CacheStats {
	return CacheStats{c.uploaded.Load(), time.Duration(c.uploading.Load()), c.waited}
}

// Budget is how many bytes the cache keeps at most.
func (c *Cache) Budget() int64 { return c.budget }
