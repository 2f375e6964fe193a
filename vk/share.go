package vk

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/shaders/spirv"
	"github.com/vkcome/vkcome/vk/internal/native"
)

// Kernels bind up to 8 buffers, and Vulkan asks a device for 4 (maxPerStageDescriptorStorageBuffers). Where a kernel has more than the device,
// arguments share bindings: those that lie near one another in a block of memory are parts of one range that is bound, and the kernel is told where
// each part begins (spirv.Share). Arguments of too many blocks are copied side by side first, the smallest of them, and back if they are written.
// So that all of them have room there, an argument has an eighth of what the device binds.

const (
	mostBuffers = 8  // that a kernel of this project binds, where arguments are not texel buffers
	sharesAlign = 16 // what every part begins at a multiple of: the largest element of a kernel's buffers
)

// sharing is what a Kernel has that binds more buffers than its device: its pipelines are those of others.
type sharing struct {
	source Source
	words  int        // push constants of its own
	by     []sharedBy // pipelines so far; the device's lock guards them
}

// sharedBy is a kernel whose argument i is in range of[i].
type sharedBy struct {
	of     []int
	kernel *Kernel
}

// share makes a kernel of a source with too many bindings.
func (d *Device) share(s Source, key kernelKey) (*Kernel, error) {
	i, err := spirv.Parse([]byte(s.SPIRV))
	if err != nil {
		return nil, fmt.Errorf("vk: kernel %s: %w", s.Name, err)
	}
	if i.Words()+s.Bindings > native.MaxPushWords {
		return nil, fmt.Errorf("vk: kernel %s: %d bindings and %d push constants, %s has %d bindings: %w", s.Name, s.Bindings, i.Words(), d.Info.Name, d.Info.Limits.StorageBuffers, ErrLimit)
	}
	return &Kernel{name: s.Name, bindings: key.bindings, sharing: &sharing{source: s, words: i.Words()}}, nil
}

// sharedBy is the kernel whose argument i is in range of[i].
func (d *Device) sharedBy(k *Kernel, of []int) (*Kernel, error) {
	s := k.sharing.source
	code, err := spirv.Share([]byte(s.SPIRV), of)
	if err != nil {
		return nil, fmt.Errorf("vk: kernel %s: %w", s.Name, err)
	}
	s.SPIRV, s.Bindings = string(code), slices.Max(of)+1
	by, err := d.Kernel(s)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.ContainsFunc(k.sharing.by, func(o sharedBy) bool { return o.kernel == by }) { // another recorder may have made it meanwhile
		k.sharing.by = append(k.sharing.by, sharedBy{of, by})
	}
	return by, nil
}

// known is a kernel that was made already and takes args where they are, with the ranges that it binds; nil where there is none.
func (d *Device) known(k *Kernel, args []Arg) (by *Kernel, all []span, of []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range k.sharing.by {
		if all, ok := within(args, o.of, d.bindRange); ok {
			return o.kernel, all, o.of
		}
	}
	return nil, nil, nil
}

// within are the ranges that hold what is used of args where argument i has to be in range of[i]; ok is false where one would be too large, or in two blocks.
func within(args []Arg, of []int, most int64) (all []span, ok bool) {
	all = make([]span, slices.Max(of)+1)
	for _, used := range []bool{true, false} { // of what is not used nothing is asked, but something has to be bound
		for i, a := range args {
			v, in := spanOf(a.View), &all[of[i]]
			switch {
			case used != (a.Access != 0) || !used && in.block != nil:
			case in.block == nil:
				*in = v
			case in.block != v.block || max(in.end, v.end)-min(in.begin, v.begin) > most:
				return nil, false
			default:
				in.begin, in.end = min(in.begin, v.begin), max(in.end, v.end)
			}
		}
	}
	return all, true
}

// surveyed compiles a kernel that shares bindings, for arguments of which nothing is known.
func (k *Kernel) surveyed(d *Device) error {
	of := make([]int, k.bindings.N)
	for i := range of {
		of[i] = min(i, d.Info.Limits.StorageBuffers-1)
	}
	_, err := d.sharedBy(k, of)
	return err
}

// span is a range of a block that a kernel binds.
type span struct {
	block      *block
	begin, end int64
}

func spanOf(v View) span {
	begin := v.buf.offset + v.offset
	return span{v.buf.block, begin, begin + v.size}
}

// ranges are the fewest ranges of at most `most` bytes that hold what is used of args, and which of them each arg is in; what is not used is in the first.
func ranges(args []Arg, most int64) (all []span, of []int) {
	of = make([]int, len(args))
	var used []int
	seen := map[*block]int{} // by the first argument that is in it, so that the same arguments are ordered in the same way
	for i, a := range args {
		if a.Access == 0 {
			continue
		}
		used = append(used, i)
		if _, ok := seen[a.buf.block]; !ok {
			seen[a.buf.block] = i
		}
	}
	slices.SortStableFunc(used, func(i, j int) int {
		a, b := spanOf(args[i].View), spanOf(args[j].View)
		return cmp.Or(cmp.Compare(seen[a.block], seen[b.block]), cmp.Compare(a.begin, b.begin))
	})
	for _, i := range used {
		v := spanOf(args[i].View)
		if n := len(all); n > 0 && all[n-1].block == v.block && max(v.end, all[n-1].end)-all[n-1].begin <= most {
			all[n-1].end = max(v.end, all[n-1].end)
		} else {
			all = append(all, v)
		}
		of[i] = len(all) - 1
	}
	return all, of
}

// sharedArgs are the arguments of a dispatch of a kernel whose arguments share bindings.
type sharedArgs struct {
	kernel *Kernel
	push   []uint32
	args   []Arg     // the kernel's, of which some may be copies
	bind   []Arg     // what is bound
	back   [][2]View // where copies go in the end, and they
}

// share finds what to bind, and records the copies that this takes.
func (r *Recorder) share(k *Kernel, push []uint32, args []Arg) (s sharedArgs, err error) {
	l := r.d.Info.Limits
	if len(push) > k.sharing.words || len(args) > k.bindings.N {
		return s, fmt.Errorf("vk: %s: %d push constants and %d buffers, it has %d and binds %d: %w", k.name, len(push), len(args), k.sharing.words, k.bindings.N, ErrLimit)
	}
	s.args = args
	by, all, of := r.d.known(k, args)
	if by == nil {
		all, of = ranges(args, r.d.bindRange)
	}
	if len(all) > l.StorageBuffers {
		if err := r.gather(&s, all, of); err != nil {
			return s, fmt.Errorf("vk: %s: %w", k.name, err)
		}
		if by, all, of = r.d.known(k, s.args); by == nil {
			all, of = ranges(s.args, r.d.bindRange)
		}
	}
	if len(all) == 0 { // nothing is used, but something has to be bound
		all = append(all, spanOf(args[0].View))
	}
	s.push = make([]uint32, k.sharing.words+len(args))
	copy(s.push, push)
	for i, a := range s.args {
		if a.Access != 0 {
			s.push[k.sharing.words+i] = uint32((spanOf(a.View).begin - all[of[i]].begin) / 4)
		}
	}
	for _, b := range all {
		s.bind = append(s.bind, Arg{View: View{&Buffer{block: b.block, offset: b.begin, size: b.end - b.begin, name: k.name}, 0, b.end - b.begin}})
	}
	for i, a := range s.args {
		s.bind[of[i]].Access |= a.Access // what is written anywhere in a range counts as all of it: so say the rules that validation goes by
	}
	if s.kernel = by; by == nil {
		s.kernel, err = r.d.sharedBy(k, of)
	}
	return s, err
}

// gather copies what is in the smallest of too many ranges into one buffer, so that as many are left as the device binds.
func (r *Recorder) gather(s *sharedArgs, all []span, of []int) error {
	l := r.d.Info.Limits
	sizes := make([]int64, len(all)) // of what is used in a range
	for i, a := range s.args {
		if a.Access != 0 {
			sizes[of[i]] += a.size
		}
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sizes[a], sizes[b]) })
	moved := order[:len(all)-l.StorageBuffers+1]

	// Views that overlap stay so: what is copied is their union.
	var used []int
	for i, a := range s.args {
		if a.Access != 0 && slices.Contains(moved, of[i]) {
			used = append(used, i)
		}
	}
	slices.SortStableFunc(used, func(i, j int) int {
		a, b := spanOf(s.args[i].View), spanOf(s.args[j].View)
		return cmp.Or(cmp.Compare(of[i], of[j]), cmp.Compare(a.begin, b.begin))
	})
	type union struct {
		View
		access Access
		at     int64
	}
	var unions []union
	in := map[int]int{} // unions by argument
	for _, i := range used {
		a := s.args[i]
		if n := len(unions); n > 0 && unions[n-1].buf == a.buf && a.offset < unions[n-1].offset+unions[n-1].size {
			u := &unions[n-1]
			u.size, u.access = max(u.size, a.offset+a.size-u.offset), u.access|a.Access
		} else {
			unions = append(unions, union{View: a.View, access: a.Access})
		}
		in[i] = len(unions) - 1
	}
	align, total := max(sharesAlign, l.OffsetAlignment), int64(0)
	for i := range unions {
		unions[i].at = total
		total += (unions[i].size + align - 1) / align * align
	}
	if total > r.d.bindRange {
		return fmt.Errorf("%d buffers of different blocks of memory, %s binds %d and %s of the others: %w", len(all), r.d.Info.Name, l.StorageBuffers, Bytes(r.d.bindRange), ErrLimit)
	}
	if r.gathered == nil || r.gathered.size < total {
		if err := r.Wait(context.Background()); err != nil {
			return err
		}
		r.d.Free(r.gathered)
		r.gathered = nil
		var err error
		if r.gathered, err = r.d.NewBuffer("arguments that share a binding", total, OnDevice); err != nil {
			return err
		}
	}
	s.args = slices.Clone(s.args)
	for i, n := range in {
		u := unions[n]
		s.args[i].View = r.gathered.View(u.at+s.args[i].offset-u.offset, s.args[i].size)
	}
	for _, u := range unions { // also what is only written, of which a kernel may leave parts as they are
		copied := r.gathered.View(u.at, u.size)
		r.Copy(copied, u.View)
		if u.access&Write != 0 {
			s.back = append(s.back, [2]View{u.View, copied})
		}
	}
	return r.err
}
