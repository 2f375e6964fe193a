package vk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vkcome/vkcome/vk/internal/native"
)

const (
	opBarrier = iota
	opDispatch
	opCopy
	opStamp
	opFill
)

const (
	slots       = 3   // submissions in flight: one runs, one waits, one is recorded
	maxDispatch = 256 // dispatches of one submission; the descriptor pool's size
)

// Access says what a kernel does with a binding.
type Access uint8

const (
	Read Access = 1 << iota
	Write
)

// Arg is a view that a kernel binds and what it does with it.
type Arg struct {
	View
	Access Access
	push   int // where in the push constants the address goes that takes the place of a binding, plus 1
}

// In, Out and InOut make the Args of a dispatch.
func In(v View) Arg    { return Arg{View: v, Access: Read} }
func Out(v View) Arg   { return Arg{View: v, Access: Write} }
func InOut(v View) Arg { return Arg{View: v, Access: Read | Write} }

// Unused is a view that a kernel has a binding for but, as it is specialized, does not touch: something has to be bound.
func Unused(v View) Arg { return Arg{View: v} }

// InAt is a view that a kernel reads at its address, which goes to the push constants at and at+1 (GL_EXT_buffer_reference), and does
// not bind: for devices with Addresses. InAt args come last.
func InAt(v View, at int) Arg { return Arg{View: v, Access: Read, push: at + 1} }

// PushedAt is where in the push constants the address of an InAt argument goes; ok is false for one that is bound.
func (a Arg) PushedAt() (at int, ok bool) { return a.push - 1, a.push > 0 }

// Bound is the number of args that a kernel binds.
func Bound(args []Arg) int {
	n := 0
	for _, a := range args {
		n += b2i(a.push == 0)
	}
	return n
}

// Recorder collects dispatches and copies and submits them in order. Each sees what those before it wrote. The first error stays:
// later calls do nothing, and Flush and Wait return it. A Recorder belongs to one goroutine.
type Recorder struct {
	d          *Device
	slots      [slots]*native.Commands
	next       int
	words      []uint64
	dispatches int
	work       float64
	touched    []touch
	err        error
	closed     bool
	survey     map[string]bool // names of the kernels of a survey, where nothing is recorded; nil elsewhere
	gathered   *Buffer         // where arguments are copied side by side that have to share a binding; nil before

	Dispatched int  // dispatches recorded so far, pieces of one not counted
	NoBarriers bool // leave barriers out: for the test that validation sees a hazard
}

type touch struct {
	buffer     native.Buffer
	begin, end int64
	access     Access
}

// NewRecorder makes a recorder on the compute queue.
func (d *Device) NewRecorder() (*Recorder, error) { return d.newRecorder(0) }

func (d *Device) newRecorder(queue int) (*Recorder, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("vk: recorder: device %w", ErrClosed)
	}
	r := &Recorder{d: d}
	sets := maxDispatch
	if queue != 0 {
		sets = 0 // nothing is dispatched there
	}
	for i := range r.slots {
		c, err := d.native.NewCommands(queue, sets)
		if err != nil {
			for _, c := range r.slots[:i] {
				c.Close()
			}
			return nil, fmt.Errorf("vk: recorder on %s: %w", d.Info.Name, wrap(err))
		}
		r.slots[i] = c
	}
	d.recorders[r] = struct{}{}
	return r, nil
}

// NewSurvey makes a recorder that records nothing. What is dispatched with it is compiled and checked against the device's limits, and nothing else
// happens: buffers may be those of a dry Scope.
func (d *Device) NewSurvey() *Recorder { return &Recorder{d: d, survey: map[string]bool{}} }

// Surveyed are the names of the kernels that a survey met, of those with the same code one.
func (r *Recorder) Surveyed() []string { return slices.Sorted(maps.Keys(r.survey)) }

// Device is the recorder's device.
func (r *Recorder) Device() *Device { return r.d }

// Err is the first error.
func (r *Recorder) Err() error { return r.err }

// Fail makes err the recorder's error unless it has one: what an operation calls that refuses its arguments.
func (r *Recorder) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Close waits for what was submitted, drops what was not, and frees the recorder.
func (r *Recorder) Close() error {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	return r.close()
}

// close is Close with the device's lock held.
func (r *Recorder) close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	err := r.drain(context.Background())
	for _, c := range r.slots {
		if c != nil {
			c.Close()
		}
	}
	if r.gathered != nil && !r.d.closed {
		r.d.arena.free(r.gathered)
	}
	delete(r.d.recorders, r)
	r.Fail(fmt.Errorf("vk: recorder %w", ErrClosed))
	return err
}

// workPerSubmit is how many floating-point operations (or bytes moved, whichever is more) go into one submission, so that it ends
// long before a display's watchdog (2 s on Windows) would reset the GPU: 20–200 ms at the low end of each kind.
func (d *Device) workPerSubmit() float64 {
	switch d.Info.Kind {
	case Discrete:
		return 2e11
	case CPU:
		return 4e9 // no watchdog; short enough that ^C is answered at once
	}
	return 2e10
}

// Dispatch records groups workgroups of k. push are the 32-bit push constants; work is the number of operations or bytes that the
// dispatch costs, whichever is more: beyond the submission's bound it is split over several submissions by workgroups.
func (r *Recorder) Dispatch(k *Kernel, groups [3]int, push []uint32, work float64, args ...Arg) {
	if r.err != nil {
		return
	}
	if r.err = r.check(k, groups, push, args); r.err != nil {
		return
	}
	r.Dispatched++
	if r.survey != nil {
		r.survey[k.name] = true
		if k.sharing != nil {
			r.err = k.surveyed(r.d)
		}
		return
	}
	if r.err = k.log(r.d); r.err != nil {
		return
	}
	bind, after, sharing := args, sharedArgs{}, k.sharing != nil
	if sharing {
		if after, r.err = r.share(k, push, args); r.err != nil {
			return
		}
		k, push, bind = after.kernel, after.push, after.bind
	}
	axis := 0
	for i, g := range groups {
		if g > groups[axis] {
			axis = i
		}
	}
	bound := r.d.workPerSubmit()
	pieces := min(groups[axis], max(1, int(work/bound+0.999)))
	for i := range pieces {
		base, count := [3]int{}, groups
		base[axis] = groups[axis] * i / pieces
		count[axis] = groups[axis]*(i+1)/pieces - base[axis]
		full := r.dispatches > 0 && (r.dispatches >= maxDispatch || r.work+work/float64(pieces) > bound)
		if full {
			if r.err = r.flush(context.Background()); r.err != nil {
				return
			}
		}
		if i == 0 || full || sharing { // once in each submission: pieces of one dispatch do not wait for one another, unless what they bind is more than theirs
			r.hazards(bind)
		}
		r.append(k, base, count, push, bind)
		r.work += work / float64(pieces)
	}
	for _, v := range after.back {
		r.Copy(v[0], v[1])
	}
}

func (r *Recorder) append(k *Kernel, base, count [3]int, push []uint32, args []Arg) {
	r.words = append(r.words, opDispatch, uint64(k.pipeline), k.layout, k.set, uint64(k.bindings.N), uint64(k.bindings.Texels))
	for i, a := range args[:k.bindings.N] {
		unit := int64(4)
		if k.bindings.Texels>>i&1 != 0 {
			unit = texelBytes
		}
		r.words = append(r.words, uint64(a.buf.block.mem.Buffer), uint64(a.buf.offset+a.offset), uint64((a.size+unit-1)/unit*unit))
	}
	r.words = append(r.words, uint64(len(push)))
	first := len(r.words)
	for _, p := range push {
		r.words = append(r.words, uint64(p))
	}
	for _, a := range args[k.bindings.N:] {
		address := a.buf.block.mem.Address + uint64(a.buf.offset+a.offset)
		r.words[first+a.push-1], r.words[first+a.push] = address&0xffffffff, address>>32
	}
	for _, v := range [2][3]int{base, count} {
		r.words = append(r.words, uint64(v[0]), uint64(v[1]), uint64(v[2]))
	}
	r.dispatches++
}

func (r *Recorder) check(k *Kernel, groups [3]int, push []uint32, args []Arg) error {
	l := r.d.Info.Limits
	if len(args) < k.bindings.N || len(push) > native.MaxPushWords {
		return fmt.Errorf("vk: %s: %d buffers and %d push constants, the kernel has %d bindings and room for %d", k.name, len(args), len(push), k.bindings.N, native.MaxPushWords)
	}
	for i, g := range groups {
		if g < 1 || g > l.WorkgroupCount[i] {
			return fmt.Errorf("vk: %s: %v workgroups, %s allows 1 to %v: %w", k.name, groups, r.d.Info.Name, l.WorkgroupCount, ErrLimit)
		}
	}
	for i, a := range args {
		bound := l.StorageRange
		if i < k.bindings.N && k.bindings.Texels>>i&1 != 0 {
			bound = l.TexelBuffer
		}
		switch {
		case (i >= k.bindings.N) != (a.push > 0):
			return fmt.Errorf("vk: %s: %d buffers to bind, the kernel has %d bindings", k.name, i+1, k.bindings.N)
		case a.push > 0 && (!r.d.Addresses || a.push >= len(push)):
			return fmt.Errorf("vk: %s: address of %q in push constant %d of %d: %s has no addresses, or no room: %w", k.name, a.buf.name, a.push-1, len(push), r.d.Info.Name, ErrLimit)
		case a.gone() && r.survey == nil:
			return fmt.Errorf("vk: %s: binding %d: buffer %w", k.name, i, ErrClosed)
		case a.size == 0:
			return fmt.Errorf("vk: %s: binding %d (%q) is empty: %w", k.name, i, a.buf.name, ErrLimit)
		case a.push == 0 && a.size > bound:
			return fmt.Errorf("vk: %s: binding %d (%q) of %s, %s binds at most %s: %w", k.name, i, a.buf.name, Bytes(a.size), r.d.Info.Name, Bytes(bound), ErrLimit)
		case (a.buf.offset+a.offset)%l.OffsetAlignment != 0:
			return fmt.Errorf("vk: %s: binding %d (%q) at offset %d, %s wants multiples of %d: %w", k.name, i, a.buf.name, a.offset, r.d.Info.Name, l.OffsetAlignment, ErrLimit)
		}
	}
	return nil
}

// hazards puts a barrier before an op that reads what was written, or writes what was read or written, since the last barrier.
func (r *Recorder) hazards(args []Arg) {
	for _, a := range args {
		buffer, begin := a.buf.block.mem.Buffer, a.buf.offset+a.offset
		for _, t := range r.touched {
			if t.buffer == buffer && t.begin < begin+a.size && begin < t.end && (t.access|a.Access)&Write != 0 {
				if !r.NoBarriers {
					r.words = append(r.words, opBarrier)
				}
				r.touched = r.touched[:0]
				break
			}
		}
	}
	for _, a := range args {
		begin := a.buf.offset + a.offset
		r.touched = append(r.touched, touch{a.buf.block.mem.Buffer, begin, begin + a.size, a.Access})
	}
}

// Copy records a copy of src to dst, which have the same size.
func (r *Recorder) Copy(dst, src View) {
	if r.err != nil || r.survey != nil {
		return
	}
	switch {
	case dst.gone() || src.gone():
		r.err = fmt.Errorf("vk: copy of %v to %v: buffer %w", src, dst, ErrClosed)
		return
	case dst.size != src.size || dst.size == 0:
		r.err = fmt.Errorf("vk: copy of %v to %v: sizes disagree or are 0", src, dst)
		return
	}
	r.hazards([]Arg{In(src), Out(dst)})
	r.words = append(r.words, opCopy, uint64(src.buf.block.mem.Buffer), uint64(dst.buf.block.mem.Buffer),
		uint64(src.buf.offset+src.offset), uint64(dst.buf.offset+dst.offset), uint64(src.size))
	r.transferred(src.size)
}

// Fill records that every 32-bit word of dst, whole words at a multiple of 4 bytes, becomes word.
func (r *Recorder) Fill(dst View, word uint32) {
	if r.err != nil || r.survey != nil {
		return
	}
	switch {
	case dst.gone():
		r.err = fmt.Errorf("vk: fill of %v: buffer %w", dst, ErrClosed)
		return
	case dst.size == 0 || dst.size%4 != 0 || dst.offset%4 != 0:
		r.err = fmt.Errorf("vk: fill of %v: not of whole 32-bit words", dst)
		return
	}
	r.hazards([]Arg{Out(dst)})
	r.words = append(r.words, opFill, uint64(dst.buf.block.mem.Buffer), uint64(dst.buf.offset+dst.offset), uint64(dst.size), uint64(word))
	r.transferred(dst.size)
}

// transferred counts a copy or fill of n bytes, and submits what is recorded when that is enough.
func (r *Recorder) transferred(n int64) {
	r.dispatches++
	r.work += float64(n)
	if r.dispatches >= maxDispatch || r.work > r.d.workPerSubmit() {
		r.err = r.flush(context.Background())
	}
}

// Flush submits what was recorded and does not wait for it.
func (r *Recorder) Flush(ctx context.Context) error {
	if r.err == nil {
		r.err = r.flush(ctx)
	}
	return r.err
}

func (r *Recorder) flush(ctx context.Context) error {
	if len(r.words) == 0 {
		return nil
	}
	slot := r.slots[r.next]
	r.next = (r.next + 1) % slots
	if err := r.wait(ctx, slot); err != nil {
		return err
	}
	// Barriers at both ends order submissions with one another and with the host.
	words := append(append([]uint64{opBarrier}, r.words...), opBarrier)
	if r.NoBarriers {
		words = r.words
	}
	r.d.queue.Lock()
	err := slot.Submit(words)
	r.d.queue.Unlock()
	r.words, r.touched, r.dispatches, r.work = r.words[:0], r.touched[:0], 0, 0
	if err != nil {
		return fmt.Errorf("vk: submit on %s: %w", r.d.Info.Name, wrap(err))
	}
	return nil
}

// Wait submits what was recorded and waits until all of it is done. When ctx ends first, or an error came before, what was
// submitted is still waited for, so that buffers can be freed, and the first error returned.
func (r *Recorder) Wait(ctx context.Context) error {
	r.Flush(ctx)
	if r.closed {
		return r.err
	}
	if err := r.drain(ctx); r.err == nil {
		r.err = err
	}
	return r.err
}

// drain waits for every submission, oldest first, and returns the first error.
func (r *Recorder) drain(ctx context.Context) error {
	if r.survey != nil {
		return nil
	}
	var first error
	for i := range r.slots {
		if err := r.wait(ctx, r.slots[(r.next+i)%slots]); first == nil {
			first = err
		}
	}
	return first
}

// hungPolls is how many polls a submission gets: ten minutes, where one is made for a fraction of a second and a driver that sees a hang
// resets the device within seconds.
const hungPolls = 6000

// wait polls a slot's fence. A submission is bounded, so even a cancelled context waits for its end. One that has none gives an ErrDeviceLost.
func (r *Recorder) wait(ctx context.Context, slot *native.Commands) error {
	const poll = 100_000_000 // ns
	for range hungPolls {
		err := slot.Wait(poll)
		if err == nil {
			return ctx.Err()
		}
		if !errors.Is(err, native.Timeout) {
			if !errors.Is(err, native.DeviceLost) {
				r.d.queue.Lock()
				slot.Idle() // what it uses will be freed
				r.d.queue.Unlock()
			}
			return fmt.Errorf("vk: wait for %s: %w", r.d.Info.Name, wrap(err))
		}
	}
	r.d.native.Abandon()
	return fmt.Errorf("vk: wait for %s: %w: what was submitted has not ended in %v", r.d.Info.Name, ErrDeviceLost, hungPolls*poll*time.Nanosecond)
}
