package states

import (
	"fmt"
	"sync"

	"github.com/vkcome/vkcome/model/memory"
	"github.com/vkcome/vkcome/vk"
)

// HostMemory bounds the host memory of runs that share it, and says where goes what exceeds the bound. A nil *HostMemory bounds nothing.
//
// What counts is the process' resident memory but for the device's, which a CPU driver takes of the host's: the memory that was resident
// when the first run began, what the driver's compiled kernels add, reserves for work in progress, and the hidden states kept in host
// memory. States beyond go to files. Weights stay in theirs, and are read piece by piece.
type HostMemory struct {
	Limit int64  // bytes; 0: no bound
	Dir   string // folder of the files; "" is the system's for temporary ones. No file stays there.

	mu       sync.Mutex
	base     int64 // resident when the first run began
	reserved int64
	states   int64 // held in host memory
	peak     int64 // the most ever counted
	disk     int64 // bytes in files
	spilled  int64 // bytes of states that ever went to files
}

// HostStats is what a HostMemory counts, in bytes.
type HostStats struct {
	Base     int64 // resident when the first run began, and what drivers' compiled kernels add
	Reserved int64 // for work in progress
	States   int64 // hidden states in host memory
	Peak     int64 // the most of these together
	Spilled  int64 // hidden states that went to files so far
	Disk     int64 // size of these files now, compressed
}

// kernelBytes is what a run adds to the process beside its own data: the driver's compiled kernels, on lavapipe 22.3 up to 55 MiB with the
// pages of the compiler's code, and some 15 MiB of pages of other code and of Go's runtime; a validation layer adds 10 to 25 more.
func kernelBytes(d *vk.Device) int64 {
	if d.Info.Kind == vk.CPU {
		return 96 << 20
	}
	return 16 << 20
}

// Stats is what is counted now.
func (h *HostMemory) Stats() HostStats {
	if h == nil {
		return HostStats{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return HostStats{h.base, h.reserved, h.states, h.peak, h.spilled, h.disk}
}

// Bounded says whether there is a bound.
func (h *HostMemory) Bounded() bool { return h != nil && h.Limit > 0 }

// Begin measures what is resident, once: before the first Reserve. A Forward does it where nobody did.
func (h *HostMemory) Begin(d *vk.Device) {
	if !h.Bounded() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.base == 0 {
		h.base = Resident(d)
	}
}

// Resident is the host memory that the process holds now, and what a run on the device adds to that beside its own data.
func Resident(d *vk.Device) int64 {
	return max(0, memory.Resident().Now-deviceResident(d)) + kernelBytes(d)
}

// deviceResident is the device memory in use that lies in the process' own.
func deviceResident(d *vk.Device) int64 {
	if d.Info.Kind != vk.CPU {
		return 0
	}
	return d.Memory().Used
}

// Reserve sets n bytes aside for work in progress, until release is called. The error says what the bound would have to be.
func (h *HostMemory) Reserve(what string, n int64) (release func(), err error) {
	if !h.Bounded() {
		return func() {}, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if need := h.base + h.reserved + n; need > h.Limit {
		return nil, fmt.Errorf("model: %s of host memory are too little for %s: %s with what is in use; use a larger states.HostMemory.Limit", vk.Bytes(h.Limit), what, vk.Bytes(need))
	}
	h.reserved += n
	h.count()
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.reserved -= n
	}, nil
}

func (h *HostMemory) count() { h.peak = max(h.peak, h.base+h.reserved+h.states) }

// take counts n bytes of states, if there is room.
func (h *HostMemory) take(n int64) bool {
	if h == nil {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.Limit > 0 && h.base+h.reserved+h.states+n > h.Limit {
		return false
	}
	h.states += n
	h.count()
	return true
}

func (h *HostMemory) give(n int64) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.states -= n
}

// wrote counts n more bytes in files, or less of them, that stand for so many of states.
func (h *HostMemory) wrote(n, states int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disk += n
	h.spilled += states
}
