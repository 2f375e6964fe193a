package states

import (
	"errors"
	"fmt"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/internal/pages"
	"github.com/vkcome/vkcome/vk"
)

// spillPiece is how much of a batch's states is compressed at a time.
const spillPiece = 1 << 20

// RunBytes is the host memory that a run takes for work: pieces of states that wait to be written or were read ahead and the coders'
// own memory (20 MiB), and the pieces of weights that two uploads are at, each with one that the collector has not taken yet.
const RunBytes = 20<<20 + 4*model.Piece

// spill keeps hidden states in files: one for each boundary, its bytes in planes (all first bytes of the f32s, all second …), since the
// signs and exponents are nearly all that compresses. zstd takes 15 % off in planes and nothing without them, at any level.
//
// One goroutine compresses and writes behind the caller; another reads ahead.
type spill struct {
	host   *HostMemory
	jobs   chan spillJob
	spare  chan []byte // pieces to be used again
	ended  chan struct{}
	dec    *zstd.Decoder
	files  map[int]*spillFile // by boundary
	ahead  *spillReader
	failed error // what the writer met; set before the record's done is closed
}

// spillFile is what one boundary's states are in; records share it, and it goes with the last.
type spillFile struct {
	*files.File
	size    int64
	records int
}

// record is one batch's states in a file.
type record struct {
	file   *spillFile
	frames []frame       // one behind the other
	length int64         // of them all
	done   chan struct{} // closed when the frames are written, or could not be
	err    error
}

type frame struct {
	offset       int64
	length, size int // compressed, and not
}

type spillJob struct {
	record *record
	piece  []byte // nil: the record is whole
}

func newSpill(host *HostMemory) (*spill, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(spillPiece))
	if err != nil {
		return nil, fmt.Errorf("model: zstd: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*spillPiece))
	if err != nil {
		return nil, fmt.Errorf("model: zstd: %w", err)
	}
	s := &spill{host: host, jobs: make(chan spillJob, 2), spare: make(chan []byte, 4), ended: make(chan struct{}), dec: dec, files: map[int]*spillFile{}}
	go s.write(enc)
	return s, nil
}

// buffer is a piece of n bytes.
func (s *spill) buffer(n int) []byte {
	select {
	case b := <-s.spare:
		return b[:n]
	default:
		return make([]byte, n, spillPiece)
	}
}

func (s *spill) recycle(b []byte) {
	select {
	case s.spare <- b:
	default:
	}
}

// begin opens a record of a boundary; its pieces follow through add, and end.
func (s *spill) begin(boundary int) (*record, error) {
	if s.files[boundary] == nil {
		f, err := files.Scratch(s.host.Dir, "vkcome-states-*")
		if err != nil {
			return nil, s.explain(err)
		}
		s.files[boundary] = &spillFile{File: f}
	}
	file := s.files[boundary]
	file.records++
	return &record{file: file, done: make(chan struct{})}, nil
}

func (s *spill) add(r *record, piece []byte) { s.jobs <- spillJob{r, piece} }
func (s *spill) end(r *record)               { s.jobs <- spillJob{r, nil} }

func (s *spill) explain(err error) error {
	dir := s.host.Dir
	if dir == "" {
		dir = os.TempDir()
	}
	if path := new(os.PathError); errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("model: hidden states to files in %s, beside %s of them: %w; use another folder or a larger states.HostMemory.Limit", dir, vk.Bytes(s.host.Stats().Disk), err)
}

// write compresses and writes what comes, until there is no more.
func (s *spill) write(enc *zstd.Encoder) {
	defer close(s.ended)
	planes, packed := make([]byte, spillPiece), make([]byte, 0, spillPiece+spillPiece/8)
	for job := range s.jobs {
		r := job.record
		if job.piece == nil {
			close(r.done)
			continue
		}
		if s.failed == nil {
			split(planes[:len(job.piece)], job.piece)
			packed = enc.EncodeAll(planes[:len(job.piece)], packed[:0])
			if _, err := r.file.WriteAt(packed, r.file.size); err != nil {
				s.failed = s.explain(err)
			}
			r.frames = append(r.frames, frame{r.file.size, len(packed), len(job.piece)})
			r.file.size += int64(len(packed))
			r.length += int64(len(packed))
			s.host.wrote(int64(len(packed)), int64(len(job.piece)))
		}
		r.err = s.failed
		s.recycle(job.piece)
	}
}

// split puts the bytes of f32s in planes, join takes them from there.
func split(planes, values []byte) {
	n := len(values) / 4
	a, b, c, d := planes[:n], planes[n:2*n], planes[2*n:3*n], planes[3*n:4*n]
	for i := range n {
		v := values[4*i : 4*i+4 : 4*i+4]
		a[i], b[i], c[i], d[i] = v[0], v[1], v[2], v[3]
	}
	copy(planes[4*n:], values[4*n:]) // less than a word
}

func join(values, planes []byte) {
	n := len(values) / 4
	a, b, c, d := planes[:n], planes[n:2*n], planes[2*n:3*n], planes[3*n:4*n]
	for i := range n {
		v := values[4*i : 4*i+4 : 4*i+4]
		v[0], v[1], v[2], v[3] = a[i], b[i], c[i], d[i]
	}
	copy(values[4*n:], planes[4*n:])
}

// spillReader reads a record's pieces, some of them ahead of their use.
type spillReader struct {
	record *record
	pieces chan []byte // closed after the last, or with err
	stop   chan struct{}
	err    error
}

func (s *spill) read(r *record) *spillReader {
	reader := &spillReader{record: r, pieces: make(chan []byte, 2), stop: make(chan struct{})}
	go func() {
		defer close(reader.pieces)
		<-r.done
		if reader.err = r.err; reader.err != nil {
			return
		}
		var packed, planes []byte
		for _, f := range r.frames {
			if cap(packed) < f.length {
				packed = make([]byte, f.length)
			}
			packed = packed[:f.length]
			if _, err := r.file.ReadAt(packed, f.offset); err != nil {
				reader.err = s.explain(err)
				return
			}
			var err error
			if planes, err = s.dec.DecodeAll(packed, planes[:0]); err != nil || len(planes) != f.size {
				reader.err = s.explain(fmt.Errorf("%d bytes of %d came back (%v)", len(planes), f.size, err))
				return
			}
			values := s.buffer(f.size)
			join(values, planes)
			select {
			case reader.pieces <- values:
			case <-reader.stop:
				return
			}
		}
	}()
	return reader
}

// prefetch begins to read a record that is wanted next.
func (s *spill) prefetch(r *record) {
	if s.ahead == nil {
		s.ahead = s.read(r)
	}
}

// cancel ends a reader, and waits until it is out of the files.
func (r *spillReader) cancel() {
	close(r.stop)
	for range r.pieces {
	}
}

// load gives visit the pieces of a record in order.
func (s *spill) load(r *record, visit func(at int64, piece []byte) error) error {
	reader := s.ahead
	s.ahead = nil
	if reader != nil && reader.record != r {
		reader.cancel()
		reader = nil
	}
	if reader == nil {
		reader = s.read(r)
	}
	at := int64(0)
	for piece := range reader.pieces {
		if err := visit(at, piece); err != nil {
			reader.cancel()
			return err
		}
		at += int64(len(piece))
		s.recycle(piece)
	}
	return reader.err
}

// drop forgets a record, and its file with the last of them.
func (s *spill) drop(r *record) error {
	<-r.done
	if s.ahead != nil && s.ahead.record == r {
		s.ahead.cancel()
		s.ahead = nil
	}
	s.host.wrote(-r.length, 0)
	if r.file.records--; r.file.records > 0 {
		if len(r.frames) > 0 {
			pages.Punch(r.file.File.File, r.frames[0].offset, r.length)
		}
		return nil
	}
	for boundary, f := range s.files { // a branch's boundary may have been taken over by another file
		if f == r.file {
			delete(s.files, boundary)
		}
	}
	return r.file.Close()
}

// close ends the goroutines, after every record was dropped.
func (s *spill) close() error {
	if s.ahead != nil {
		s.ahead.cancel()
	}
	close(s.jobs)
	<-s.ended
	s.dec.Close()
	var err error
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// hostStates takes memory for states, beside Go's heap.
func hostStates(h *HostMemory, n int64) ([]byte, error) {
	b, err := pages.Alloc(int(n))
	if err != nil {
		h.give(n)
		return nil, fmt.Errorf("model: %s of host memory for hidden states: %w; bound it with states.HostMemory.Limit", vk.Bytes(n), err)
	}
	return b, nil
}

func freeStates(h *HostMemory, b []byte) error {
	h.give(int64(len(b)))
	return pages.Free(b)
}
