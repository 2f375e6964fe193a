package states

import (
	"context"
	"errors"

	"github.com/vkcome/vkcome/vk"
)

// shelf keeps what is on the device in host memory, and in files beyond what that may hold.
type shelf struct {
	d     *vk.Device
	host  *HostMemory
	spill *spill // nil until something goes to files
	lost  error  // what closing files and unmapping memory met
}

// block is what a shelf keeps of a view: in host memory or a file.
type block struct {
	host []byte // of pages.Alloc
	disk *record
}

func (b block) there() bool { return b.host != nil || b.disk != nil }

// keep copies a view, which nothing on its way may still write. Blocks of one number share a file.
func (s *shelf) keep(ctx context.Context, number int, v vk.View) (b block, err error) {
	size := v.Size()
	if s.host.take(size) {
		b.host, err = s.download(ctx, v)
		return b, err
	}
	if s.spill == nil {
		if s.spill, err = newSpill(s.host); err != nil {
			return block{}, err
		}
	}
	if b.disk, err = s.spill.begin(number); err != nil {
		return block{}, err
	}
	for at := int64(0); at < size && err == nil; at += spillPiece {
		values := s.spill.buffer(int(min(spillPiece, size-at)))
		if err = s.d.Download(ctx, values, v.Slice(at, int64(len(values)))); err == nil {
			s.spill.add(b.disk, values)
		}
	}
	s.spill.end(b.disk)
	if err != nil {
		return block{}, errors.Join(err, s.spill.drop(b.disk))
	}
	return b, nil
}

// download copies a view to host memory that was taken for it, and gives that back where it fails.
func (s *shelf) download(ctx context.Context, v vk.View) ([]byte, error) {
	host, err := hostStates(s.host, v.Size())
	if err != nil {
		return nil, err
	}
	if err := s.d.Download(ctx, host, v); err != nil {
		return nil, errors.Join(err, freeStates(s.host, host))
	}
	return host, nil
}

// load copies a block back, to a view of its size that nothing on its way may still use.
func (s *shelf) load(ctx context.Context, b block, v vk.View) error {
	if b.host != nil {
		return s.d.Upload(ctx, v, b.host)
	}
	return s.spill.load(b.disk, func(at int64, values []byte) error {
		return s.d.Upload(ctx, v.Slice(at, int64(len(values))), values)
	})
}

// forget frees a block, which may be none.
func (s *shelf) forget(b block) {
	if b.host != nil {
		s.lost = errors.Join(s.lost, freeStates(s.host, b.host))
	}
	if b.disk != nil {
		s.lost = errors.Join(s.lost, s.spill.drop(b.disk))
	}
}

// close ends the files, after every block was forgotten, and tells of what went wrong on the way.
func (s *shelf) close() error {
	if s.spill != nil {
		s.lost = errors.Join(s.lost, s.spill.close())
		s.spill = nil
	}
	return s.lost
}

// Shelf keeps numbered tensors that the device has no room for: in host memory, and in files beyond what that may hold. It belongs
// to one goroutine. What was recorded on a tensor must be waited for before it is kept or loaded.
type Shelf struct {
	shelf
	blocks []block
}

// NewShelf makes a Shelf for numbers below n. host may be nil.
func NewShelf(d *vk.Device, n int, host *HostMemory) *Shelf {
	return &Shelf{shelf: shelf{d: d, host: host}, blocks: make([]block, n)}
}

// Keep copies a view in the place of what was kept under the number.
func (s *Shelf) Keep(ctx context.Context, number int, v vk.View) (err error) {
	if b := s.blocks[number].host; int64(len(b)) == v.Size() {
		return s.d.Download(ctx, b, v)
	}
	s.forget(s.blocks[number])
	s.blocks[number] = block{}
	s.blocks[number], err = s.keep(ctx, 0, v) // all in one file: there may be more numbers than a process may open
	return err
}

// Load copies what is kept under a number to a view of its size.
func (s *Shelf) Load(ctx context.Context, number int, v vk.View) error {
	return s.load(ctx, s.blocks[number], v)
}

// Close frees all that is kept.
func (s *Shelf) Close() error {
	for i, b := range s.blocks {
		s.forget(b)
		s.blocks[i] = block{}
	}
	return s.close()
}
