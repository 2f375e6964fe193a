// Package states keeps what lies between two layers: the hidden states of a corpus, on the device, in host memory or in files, and the
// account of the host's memory.
package states

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Store keeps the hidden states of a corpus at the boundaries between layers, batch by batch. Boundary l is what enters layer l. They lie in
// device memory while there is room, in host memory beyond, and in files beyond what that may take. No result depends on where. A Store
// belongs to one goroutine.
type Store struct {
	shelf
	r       *vk.Recorder
	hidden  int
	rows    []int // of each batch
	all     []int // the numbers of the batches
	in, out *vk.Buffer
	room    int64      // bytes of device memory left for states
	at      []Boundary // by boundary
	held    []Boundary // the states at the time of Hold
	made    uint64     // batches of states that were ever made
}

// Boundary is the states at one boundary, by batch. Those that are not there are empty.
type Boundary []chunk

// chunk is the states of one batch, in one of the two memories or a file.
type chunk struct {
	held   bool   // see Hold
	id     uint64 // of no other states that the Store made
	device *vk.Buffer
	block
}

func (c chunk) there() bool { return c.device != nil || c.block.there() }

// NewStaging allocates what states of up to so many rows take on their way from and to host memory, and gives it to the Store.
func NewStaging(s *vk.Scope, hidden, rows int) (in, out *vk.Buffer) {
	size := 4 * int64(rows) * int64(hidden)
	return s.Buffer("hidden states", size, vk.OnDevice), s.Buffer("hidden states", size, vk.OnDevice)
}

// NewStore makes a Store without batches: rows of hidden floats, computed on a recorder, with staging of NewStaging, and so many bytes of
// device memory for states. host may be nil.
func NewStore(r *vk.Recorder, hidden int, in, out *vk.Buffer, room int64, host *HostMemory) *Store {
	return &Store{shelf: shelf{d: r.Device(), host: host}, r: r, hidden: hidden, in: in, out: out, room: room}
}

// SetBatches forgets all states and says how many rows each of the batches to come has.
func (s *Store) SetBatches(rows []int) {
	s.DropAll()
	s.rows, s.all = rows, make([]int, len(rows))
	for i := range s.all {
		s.all[i] = i
	}
}

// All is the numbers of all batches.
func (s *Store) All() []int { return s.all }

// Room is how many bytes of device memory are left for states.
func (s *Store) Room() int64 { return s.room }

// Close frees all states.
func (s *Store) Close() error {
	s.DropAll()
	for _, b := range s.held {
		for _, c := range b {
			c.held = false
			s.drop(c)
		}
	}
	s.held = nil
	return s.close()
}

// DropAll forgets the states of all boundaries, but for what is held.
func (s *Store) DropAll() {
	for l := range s.at {
		s.Drop(l)
	}
	s.at = nil
}

// Drop forgets the states of a boundary.
func (s *Store) Drop(boundary int) {
	if boundary < len(s.at) {
		s.Forget(s.at[boundary])
		s.at[boundary] = nil
	}
}

// Forget frees the states of a boundary that the Store has not among its own.
func (s *Store) Forget(b Boundary) {
	for _, c := range b {
		s.drop(c)
	}
}

func (s *Store) drop(c chunk) {
	if c.held {
		return
	}
	if c.device != nil {
		before := s.d.Memory().Reserved
		s.d.Free(c.device)
		s.room += before - s.d.Memory().Reserved
	}
	s.forget(c.block)
}

// Has says whether the states of a boundary are there: of some batches, or of all where none are named.
func (s *Store) Has(boundary int, batches ...int) bool {
	if boundary >= len(s.at) || s.at[boundary] == nil {
		return false
	}
	if len(batches) == 0 {
		batches = s.all
	}
	for _, b := range batches {
		if !s.at[boundary][b].there() {
			return false
		}
	}
	return true
}

// Need is an error unless Has says that the states are there.
func (s *Store) Need(boundary int, batches ...int) error {
	if !s.Has(boundary, batches...) {
		return fmt.Errorf("the states at boundary %d are not kept", boundary)
	}
	return nil
}

// At is the states at a boundary, good until they are dropped.
func (s *Store) At(boundary int) Boundary { return s.at[boundary] }

// Staging is the first rows of the buffer for states that go, free between the calls of Produce.
func (s *Store) Staging(rows int) op.Tensor { return s.matrix(s.out, rows) }

func (s *Store) matrix(b *vk.Buffer, rows int) op.Tensor {
	return op.Of(b.All(), dtype.F32, rows, s.hidden)
}

// Tensor is a batch's states at a boundary on the device, [rows, hidden]. Those elsewhere are uploaded, once what was recorded is done with
// the batch that was uploaded before, and are good until the next.
func (s *Store) Tensor(ctx context.Context, boundary, batch int) (op.Tensor, error) {
	return s.Upload(ctx, s.at[boundary], batch, s.in)
}

// Pair is a batch's states at a boundary of source, a Store of batches of the same rows that may be s itself, and at one of s, both good
// until the next call. What was recorded is waited for.
func (s *Store) Pair(ctx context.Context, source *Store, lower, upper, batch int) (x, y op.Tensor, err error) {
	if !source.Has(lower, batch) || !s.Has(upper, batch) {
		return x, y, fmt.Errorf("model: the states at boundaries %d and %d are not both kept", lower, upper)
	}
	if err := s.r.Wait(ctx); err != nil {
		return x, y, err
	}
	if x, err = source.Upload(ctx, source.at[lower], batch, s.in); err != nil {
		return x, y, err
	}
	y, err = s.Upload(ctx, s.at[upper], batch, s.out)
	return x, y, err
}

// Upload is a batch's states of a boundary on the device; those elsewhere are uploaded into staging, once what was recorded is done.
func (s *Store) Upload(ctx context.Context, b Boundary, batch int, staging *vk.Buffer) (op.Tensor, error) {
	c, n := b[batch], s.rows[batch]
	if c.device != nil {
		return s.matrix(c.device, n), nil
	}
	if err := s.r.Wait(ctx); err != nil {
		return op.Tensor{}, err
	}
	t := s.matrix(staging, n)
	return t, s.load(ctx, c.block, t.View)
}

// UploadHere is Upload into the Store's own staging.
func (s *Store) UploadHere(ctx context.Context, b Boundary, batch int) (op.Tensor, error) {
	return s.Upload(ctx, b, batch, s.in)
}

// Ahead begins to read the states of a batch that is wanted next, if they are in a file.
func (s *Store) Ahead(boundary, batch int) {
	if c := s.at[boundary][batch]; c.disk != nil {
		s.spill.prefetch(c.disk)
	}
}

// Visit gives visit each batch of a boundary as a tensor [rows, hidden] that is good for recording until visit returns.
func (s *Store) Visit(ctx context.Context, boundary int, visit func(batch int, x op.Tensor) error) error {
	if err := s.Need(boundary); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	for i := range s.rows {
		x, err := s.Tensor(ctx, boundary, i)
		if err != nil {
			return err
		}
		if i+1 < len(s.rows) {
			s.Ahead(boundary, i+1)
		}
		if err := visit(i, x); err != nil {
			return err
		}
	}
	return nil
}

// ID tells a batch's states at a boundary, which must be there, from all others that the Store makes.
func (s *Store) ID(boundary, batch int) uint64 { return s.at[boundary][batch].id }

// Produce makes a boundary of some batches: for each, fill records what fills out. What does not fit on the device goes to host
// memory, and what does not fit there to files.
func (s *Store) Produce(ctx context.Context, boundary int, batches []int, fill func(batch int, out op.Tensor) error) error {
	for len(s.at) <= boundary {
		s.at = append(s.at, nil)
	}
	if s.at[boundary] == nil {
		s.at[boundary] = make(Boundary, len(s.rows))
	}
	chunks := s.at[boundary]
	for _, i := range batches {
		s.drop(chunks[i])
		chunks[i] = chunk{}
	}
	for _, i := range batches {
		buf, err := s.place(4 * int64(s.rows[i]) * int64(s.hidden))
		if err != nil {
			return err
		}
		s.made++
		chunks[i].device, chunks[i].id = buf, s.made
		if buf == nil {
			buf = s.out
		}
		out := s.matrix(buf, s.rows[i])
		if err := fill(i, out); err != nil {
			return err
		}
		if chunks[i].device != nil {
			continue
		}
		if err := s.r.Wait(ctx); err != nil {
			return err
		}
		if chunks[i].block, err = s.keep(ctx, boundary, out.View); err != nil {
			return err
		}
	}
	return s.r.Flush(ctx)
}

// place is a buffer for states on the device, nil where there is no room.
func (s *Store) place(size int64) (*vk.Buffer, error) {
	if size > s.room {
		return nil, nil
	}
	before := s.d.Memory().Reserved
	b, err := s.d.NewBuffer("hidden states", size, vk.OnDevice)
	if errors.Is(err, vk.ErrOutOfMemory) { // the heap is fuller than its size promised: spill from here on
		s.room = 0
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.room -= s.d.Memory().Reserved - before // what the arena took: a block with a hole at its end costs all of it
	return b, nil
}

// With lends the Store other states at a boundary in the place of all its own while run makes the boundary above, and gives what that made.
func (s *Store) With(boundary int, b Boundary, run func() error) (made Boundary, err error) {
	own := s.at
	s.at = make([]Boundary, boundary+2)
	s.at[boundary] = b
	err = run()
	made = s.at[boundary+1]
	s.at = own
	return made, err
}

// Hold keeps the states of all boundaries until Close, whatever model runs next, for Rewind to come back to. It is called once.
func (s *Store) Hold() {
	for _, b := range s.at {
		for i := range b {
			b[i].held = true
		}
		s.held = append(s.held, slices.Clone(b))
	}
}

// HeldAt is the states at a boundary at the time of Hold.
func (s *Store) HeldAt(boundary int) (Boundary, error) {
	if boundary < 0 || boundary >= len(s.held) || s.held[boundary] == nil {
		return nil, fmt.Errorf("model: the states at boundary %d are not held", boundary)
	}
	return s.held[boundary], nil
}

// Rewind makes the states what they were at Hold.
func (s *Store) Rewind() {
	s.DropAll()
	for _, b := range s.held {
		s.at = append(s.at, slices.Clone(b))
	}
}
