package vk

import "fmt"

// Scope is buffers that are allocated together and go together. Its first error sticks: buffers asked for after it, and that one, are
// stand-ins of the right size without memory, so that a list of allocations needs one check at its end.
//
// A dry Scope allocates nothing and counts. What an operation will take of a device is thereby what its own allocations say, without a
// second account beside them.
type Scope struct {
	d     *Device
	dry   bool
	bufs  []*Buffer
	bytes int64
	err   error
}

// NewScope is a Scope without buffers.
func (d *Device) NewScope() *Scope { return &Scope{d: d} }

// DryScope is a Scope that only counts.
func (d *Device) DryScope() *Scope { return &Scope{d: d, dry: true} }

// DryRun is the device memory in bytes that the allocations of f take together, beside what their blocks round up.
func (d *Device) DryRun(f func(s *Scope)) int64 {
	s := d.DryScope()
	f(s)
	return s.bytes
}

// Device is the device that the buffers are on.
func (s *Scope) Device() *Device { return s.d }

// Buffer allocates size bytes as Device.NewBuffer does. A size of 0 is no buffer: nil.
func (s *Scope) Buffer(name string, size int64, use Use) *Buffer {
	if size == 0 {
		return nil
	}
	if !s.dry && s.err == nil {
		b, err := s.d.NewBuffer(name, size, use)
		if err == nil {
			s.bufs = append(s.bufs, b)
			s.count(size, use)
			return b
		}
		s.err = err
	}
	s.count(size, use)
	return &Buffer{size: size, name: name}
}

func (s *Scope) count(size int64, use Use) {
	if a := s.d.arena.align; use == OnDevice {
		s.bytes += (size + a - 1) / a * a
	}
}

// Add counts device memory that is taken for a while, without a buffer that lasts: of a dry Scope, for a prediction's sake.
func (s *Scope) Add(bytes int64) { s.bytes += bytes }

// Dry says whether the Scope only counts: nothing may then be recorded or moved.
func (s *Scope) Dry() bool { return s.dry }

// Live says whether its buffers can be used: it is not dry, and met no error.
func (s *Scope) Live() bool { return !s.dry && s.err == nil }

// Bytes is what its buffers take on the device.
func (s *Scope) Bytes() int64 { return s.bytes }

// Err is the first error.
func (s *Scope) Err() error { return s.err }

// Fail makes err the Scope's error, unless it has one or err is nil. What fills a buffer may fail as its allocation may.
func (s *Scope) Fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Free gives all buffers back. No recorder may still use them. A nil Scope has none.
func (s *Scope) Free() {
	if s == nil {
		return
	}
	s.d.Free(s.bufs...)
	s.bufs, s.bytes = nil, 0
}

// Close frees the buffers where the Scope met an error, and gives that; for the end of a list of allocations.
func (s *Scope) Close() error {
	if s.err != nil {
		s.Free()
	}
	return s.err
}

// Wrap puts what was being done before the Scope's error, if it has one.
func (s *Scope) Wrap(what string) {
	if s.err != nil {
		s.err = fmt.Errorf("%s: %w", what, s.err)
	}
}
