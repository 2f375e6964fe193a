package vk

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/vkcome/vkcome/vk/internal/native"
)

// Use says where a buffer lives.
type Use int

const (
	OnDevice Use = iota // what kernels work on
	ToDevice            // mapped, written by the host, read by copies
	ToHost              // mapped and cached, written by copies, read by the host
)

// Buffer is a piece of memory that kernels and copies work on.
type Buffer struct {
	block  *block
	offset int64
	size   int64
	name   string
}

// View is a range of a buffer: what a kernel binds and a copy moves.
type View struct {
	buf    *Buffer
	offset int64
	size   int64
}

// Size is the buffer's size in bytes.
func (b *Buffer) Size() int64 { return b.size }

// View is the n bytes from offset on. It panics if they are not inside the buffer, as slicing does.
func (b *Buffer) View(offset, n int64) View {
	if offset < 0 || n < 0 || offset > b.size-n {
		panic(fmt.Sprintf("vk: view [%d, %d) of buffer %q of %d bytes", offset, offset+n, b.name, b.size))
	}
	return View{b, offset, n}
}

// All is the whole buffer.
func (b *Buffer) All() View { return View{b, 0, b.size} }

// Bytes is the buffer's memory as the host sees it, nil where it is not mapped.
func (b *Buffer) Bytes() []byte {
	if b.block.mem.Mapped == nil {
		return nil
	}
	return b.block.mem.Mapped[b.offset : b.offset+b.size : b.offset+b.size]
}

// Size is the view's size in bytes.
func (v View) Size() int64 { return v.size }

// gone says whether there is no buffer behind the view, or none any more.
func (v View) gone() bool { return v.buf == nil || v.buf.block == nil }

func (v View) String() string {
	if v.buf == nil {
		return "no buffer"
	}
	return fmt.Sprintf("bytes [%d, %d) of %q", v.offset, v.offset+v.size, v.buf.name)
}

// Through is the view from the start of v to the end of last. It panics if they are not of one buffer, or last ends before v begins.
func (v View) Through(last View) View {
	n := last.offset + last.size - v.offset
	if v.buf != last.buf || n < 0 {
		panic(fmt.Sprintf("vk: %v through %v", v, last))
	}
	return View{v.buf, v.offset, n}
}

// Slice is the n bytes of the view from offset on. It panics if they are not inside the view.
func (v View) Slice(offset, n int64) View {
	if offset < 0 || n < 0 || offset > v.size-n {
		panic(fmt.Sprintf("vk: slice [%d, %d) of a view of %d bytes of %q", offset, offset+n, v.size, v.buf.name))
	}
	return View{v.buf, v.offset + offset, n}
}

// MemoryStats is what the arena holds, in bytes.
type MemoryStats struct {
	Used     int64 // in buffers on the device
	Reserved int64 // taken from the driver for them
	Peak     int64 // the most ever reserved
	PeakUsed int64 // the most ever used
	Staging  int64 // mapped memory for transfers
}

// arena suballocates buffers from few large allocations, as drivers allow only some thousands.
type arena struct {
	d         *Device
	types     [3]uint32 // memory type by Use
	mapped    [3]bool
	heap      int64
	limit     int64 // bytes of OnDevice memory
	blockSize int64
	align     int64
	blocks    []*block
	stats     MemoryStats
	buffers   int
}

// block is one allocation and its free ranges, sorted and never touching.
type block struct {
	use       Use
	mem       *native.Allocation
	size      int64
	dedicated bool
	free      []extent
}

type extent struct{ offset, size int64 }

func (a *arena) init(d *Device, p *native.PhysicalDevice) error {
	a.d = d
	allowed, err := d.native.BufferMemoryTypes()
	if err != nil {
		return fmt.Errorf("vk: open %s: %w", p.Name, wrap(err))
	}
	a.heap = localHeap(p)
	for use := range a.types {
		best, bestScore := -1, -1
		for k, t := range p.Memory {
			if allowed>>k&1 == 0 {
				continue
			}
			mappable := t.HostVisible && t.HostCoherent
			score := 0
			switch Use(use) {
			case OnDevice:
				if !t.DeviceLocal || int64(p.Heaps[t.Heap]) != a.heap {
					continue
				}
				if mappable && !d.opts.Staging {
					score++
				}
			case ToDevice:
				if !mappable {
					continue
				}
				score = 2*b2i(!t.DeviceLocal) + b2i(!t.HostCached)
			case ToHost:
				if !mappable {
					continue
				}
				score = 2*b2i(t.HostCached) + b2i(!t.DeviceLocal)
			}
			if score > bestScore {
				best, bestScore = k, score
			}
		}
		if best < 0 {
			return fmt.Errorf("vk: open %s: no suitable memory type", p.Name)
		}
		t := p.Memory[best]
		a.types[use] = uint32(best)
		a.mapped[use] = t.HostVisible && t.HostCoherent && !(Use(use) == OnDevice && d.opts.Staging)
	}
	a.limit = d.opts.MaxMemory
	if a.limit <= 0 {
		a.limit = a.heap / 10 * 8
	}
	// Blocks of a sixteenth of the budget waste little of it; 64 MiB is few enough allocations for any card.
	a.blockSize = min(64<<20, max(64<<10, int64(1)<<(bits.Len64(uint64(max(1, a.limit/16)))-1)))
	if d.Info.Limits.Allocation > 0 {
		a.blockSize = min(a.blockSize, d.Info.Limits.Allocation)
	}
	a.align = max(256, d.Info.Limits.OffsetAlignment)
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// NewBuffer allocates size bytes; name says in errors what they are for. The contents are undefined.
func (d *Device) NewBuffer(name string, size int64, use Use) (*Buffer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("vk: allocate %q: device %w", name, ErrClosed)
	}
	b, err := d.arena.alloc(name, size, use)
	if err != nil {
		return nil, fmt.Errorf("vk: allocate %s for %q on %s: %w", Bytes(size), name, d.Info.Name, err)
	}
	return b, nil
}

func (a *arena) alloc(name string, size int64, use Use) (*Buffer, error) {
	if size <= 0 {
		return nil, fmt.Errorf("%w: a buffer needs at least one byte", ErrLimit)
	}
	rounded := (size + a.align - 1) / a.align * a.align
	if rounded <= a.blockSize/2 {
		for _, b := range a.blocks {
			if b.use == use && !b.dedicated {
				if buf := b.take(name, size, rounded); buf != nil {
					a.count(b, rounded)
					return buf, nil
				}
			}
		}
	}
	dedicated := rounded > a.blockSize/2
	want := a.blockSize
	if dedicated {
		want = rounded
	}
	if m := a.d.Info.Limits.Allocation; m > 0 && want > m {
		return nil, fmt.Errorf("%w: one allocation holds at most %s", ErrLimit, Bytes(m))
	}
	if use == OnDevice && a.stats.Reserved+want > a.limit {
		a.trim()
		if a.stats.Reserved+want > a.limit {
			dedicated, want = true, rounded // the last bytes of a budget go to what was asked for, not to a block
		}
		if a.stats.Reserved+want > a.limit {
			return nil, fmt.Errorf("%w: %s of %s are in use", ErrOutOfMemory, Bytes(a.stats.Reserved), Bytes(a.limit))
		}
	}
	mem, err := a.d.native.Allocate(uint64(want), a.types[use], a.mapped[use])
	if errors.Is(err, native.OutOfDeviceMemory) || errors.Is(err, native.OutOfHostMemory) {
		a.trim()
		mem, err = a.d.native.Allocate(uint64(want), a.types[use], a.mapped[use])
	}
	if err != nil {
		return nil, wrap(err)
	}
	b := &block{use: use, mem: mem, size: want, dedicated: dedicated, free: []extent{{0, want}}}
	a.blocks = append(a.blocks, b)
	if use == OnDevice {
		a.stats.Reserved += want
		a.stats.Peak = max(a.stats.Peak, a.stats.Reserved)
	} else {
		a.stats.Staging += want
	}
	buf := b.take(name, size, rounded)
	a.count(b, rounded)
	return buf, nil
}

func (a *arena) count(b *block, rounded int64) {
	a.buffers++
	if b.use == OnDevice {
		a.stats.Used += rounded
		a.stats.PeakUsed = max(a.stats.PeakUsed, a.stats.Used)
	}
}

// take cuts a buffer from the first free range that holds it.
func (b *block) take(name string, size, rounded int64) *Buffer {
	for k, e := range b.free {
		if e.size < rounded {
			continue
		}
		if e.size == rounded {
			b.free = slices.Delete(b.free, k, k+1)
		} else {
			b.free[k] = extent{e.offset + rounded, e.size - rounded}
		}
		return &Buffer{block: b, offset: e.offset, size: size, name: name}
	}
	return nil
}

// Free gives buffers back; those that are nil are passed over. No recorder may still use them.
func (d *Device) Free(buffers ...*Buffer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return // Close gave them back
	}
	for _, b := range buffers {
		if b != nil && b.block != nil {
			d.arena.free(b)
		}
	}
}

func (a *arena) free(buf *Buffer) {
	b := buf.block
	buf.block = nil
	rounded := (buf.size + a.align - 1) / a.align * a.align
	a.buffers--
	if b.use == OnDevice {
		a.stats.Used -= rounded
	}
	k, _ := slices.BinarySearchFunc(b.free, buf.offset, func(e extent, at int64) int { return int(e.offset - at) })
	b.free = slices.Insert(b.free, k, extent{buf.offset, rounded})
	if k+1 < len(b.free) && b.free[k].offset+b.free[k].size == b.free[k+1].offset {
		b.free[k].size += b.free[k+1].size
		b.free = slices.Delete(b.free, k+1, k+2)
	}
	if k > 0 && b.free[k-1].offset+b.free[k-1].size == b.free[k].offset {
		b.free[k-1].size += b.free[k].size
		b.free = slices.Delete(b.free, k, k+1)
	}
	if len(b.free) == 1 && b.free[0].size == b.size {
		a.drop(b)
	}
}

// drop returns an empty block to the driver, but keeps one pooled block of each use to save the next allocation.
func (a *arena) drop(b *block) {
	if !b.dedicated {
		others := 0
		for _, o := range a.blocks {
			others += b2i(o != b && o.use == b.use && !o.dedicated)
		}
		if others == 0 {
			return
		}
	}
	a.release(b)
}

// trim returns the blocks that drop kept.
func (a *arena) trim() {
	for _, b := range slices.Clone(a.blocks) {
		if len(b.free) == 1 && b.free[0].size == b.size {
			a.release(b)
		}
	}
}

func (a *arena) release(b *block) {
	a.blocks = slices.DeleteFunc(a.blocks, func(o *block) bool { return o == b })
	a.d.native.Free(b.mem)
	if b.use == OnDevice {
		a.stats.Reserved -= b.size
	} else {
		a.stats.Staging -= b.size
	}
}

func (a *arena) close() {
	for _, b := range a.blocks {
		a.d.native.Free(b.mem)
	}
	a.blocks = nil
}

// Memory reports what the arena holds.
func (d *Device) Memory() MemoryStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.arena.stats
}

// MemoryLimit is the number of bytes that buffers on the device may take together. Where arguments of kernels may have to be copied to share a
// binding, an eighth is left for that.
func (d *Device) MemoryLimit() int64 {
	if d.Info.Limits.StorageBuffers < mostBuffers {
		return d.arena.limit - d.arena.limit/8
	}
	return d.arena.limit
}

const stagingBytes = 8 << 20 // one piece of a transfer: large enough that its submission costs nothing beside it

// Upload writes data to the device and returns when it is there. It uses the transfer queue where the device has one, so it may
// run in another goroutine while a recorder computes on other buffers.
func (d *Device) Upload(ctx context.Context, dst View, data []byte) error {
	if err := d.transferable("upload", len(data), dst); err != nil {
		return err
	}
	if mapped := dst.buf.Bytes(); mapped != nil {
		copy(mapped[dst.offset:], data)
		return ctx.Err()
	}
	return d.staged(ctx, dst, int64(len(data)), ToDevice, d.transfer, func(stage []byte, at int64) { copy(stage, data[at:]) }, nil)
}

// Download reads from the device into data. What wrote the view must have been waited for.
func (d *Device) Download(ctx context.Context, data []byte, src View) error {
	if err := d.transferable("download", len(data), src); err != nil {
		return err
	}
	if mapped := src.buf.Bytes(); mapped != nil {
		copy(data, mapped[src.offset:])
		return ctx.Err()
	}
	return d.staged(ctx, src, int64(len(data)), ToHost, 0, nil, func(stage []byte, at int64) { copy(data[at:], stage) })
}

// transferable refuses a transfer of n bytes to or from a view that has another size or is no longer there.
func (d *Device) transferable(verb string, n int, v View) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed || v.gone():
		return fmt.Errorf("vk: %s of %d bytes, %v: %w", verb, n, v, ErrClosed)
	case int64(n) != v.size:
		return fmt.Errorf("vk: %s of %d bytes, %v: sizes disagree", verb, n, v)
	}
	return nil
}

// staged moves n bytes piece by piece: fill, copy, drain.
func (d *Device) staged(ctx context.Context, v View, n int64, use Use, queue int, fill, drain func(stage []byte, at int64)) (err error) {
	stage, err := d.NewBuffer("staging", min(n, stagingBytes), use)
	if err != nil {
		return err
	}
	r, err := d.newRecorder(queue)
	if err != nil {
		d.Free(stage)
		return err
	}
	defer func() {
		err = errors.Join(err, r.Close())
		d.Free(stage)
	}()
	for at := int64(0); at < n; at += stagingBytes {
		piece := min(stagingBytes, n-at)
		if fill != nil {
			fill(stage.Bytes()[:piece], at)
			r.Copy(v.Slice(at, piece), stage.View(0, piece))
		} else {
			r.Copy(stage.View(0, piece), v.Slice(at, piece))
		}
		if err := r.Wait(ctx); err != nil {
			return err
		}
		if drain != nil {
			drain(stage.Bytes()[:piece], at)
		}
	}
	return nil
}
