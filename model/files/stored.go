package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrChanged is what an error matches that says that a file is not any more what it was when it was opened.
var ErrChanged = errors.New("changed while it was read")

// Stored is a file that stays open, and of which parts are read when they are asked for. It may be cut short, written to or lost with its
// disk meanwhile: a read is an error then that names the file. It never gives other bytes than the file had when it was opened, and cannot
// end the process, as memory that the file is mapped to would. It may be used from several goroutines.
type Stored struct {
	path string
	from io.ReaderAt
	size int64
	file *os.File    // nil of bytes in memory
	was  fs.FileInfo // when it was opened
}

// OpenStored opens a regular file.
func OpenStored(path string) (*Stored, error) {
	f, err := Open(path, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Stored{path, f, info.Size(), f, info}, nil
}

// InMemory is a file whose bytes are in memory already; name stands for its path.
func InMemory(name string, raw []byte) *Stored {
	return &Stored{path: name, from: bytes.NewReader(raw), size: int64(len(raw))}
}

// Path is what the file was opened by.
func (s *Stored) Path() string { return s.path }

// Size is how many bytes the file had when it was opened.
func (s *Stored) Size() int64 { return s.size }

// ReadAt reads len(dst) bytes from byte at on, as io.ReaderAt does.
func (s *Stored) ReadAt(dst []byte, at int64) (int, error) {
	n, err := s.from.ReadAt(dst, at)
	if s.file == nil || errors.Is(err, os.ErrClosed) {
		return n, err
	}
	// Who writes to a file changes its time first, and its bytes then: what was read before the time is asked for is of the time that is given.
	info, wrong := s.file.Stat()
	if wrong == nil {
		wrong = changed(s.path, s.was, info)
	}
	switch {
	case wrong != nil:
		return 0, wrong
	case err == nil || errors.Is(err, io.EOF) && at+int64(n) >= s.size:
		return n, err
	case errors.Is(err, io.EOF):
		return 0, fmt.Errorf("%s %w: it ends before byte %d", s.path, ErrChanged, s.size)
	}
	return 0, err // of the system, with the path
}

// Part is a stretch of a Stored file.
type Part struct {
	file  *Stored
	begin int64
	size  int
}

// Part is the stretch of size bytes from byte begin on.
func (s *Stored) Part(begin int64, size int) Part { return Part{s, begin, size} }

// Size is how many bytes it has.
func (p Part) Size() int { return p.size }

// Read reads len(dst) bytes from byte at of the part on.
func (p Part) Read(dst []byte, at int) error {
	if at < 0 || at > p.size || len(dst) > p.size-at {
		return fmt.Errorf("%s: bytes %d to %d of %d", p.file.path, at, at+len(dst), p.size)
	}
	if len(dst) == 0 {
		return nil
	}
	_, err := p.file.ReadAt(dst, p.begin+int64(at))
	return err
}

// Head is the file's first n bytes, or all where it has fewer.
func (s *Stored) Head(n int) ([]byte, error) {
	head := make([]byte, min(int64(n), s.size))
	if len(head) == 0 {
		return nil, nil
	}
	_, err := s.ReadAt(head, 0)
	return head, err
}

// Unchanged is an error if the file, or what has its path now, is another than the one that was opened, or was written to.
func (s *Stored) Unchanged() error {
	if s.file == nil {
		return nil
	}
	return unchanged(s.path, s.was)
}

// Close ends reading. A second Close does nothing.
func (s *Stored) Close() error {
	if s.file == nil {
		return nil
	}
	if err := s.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

func unchanged(path string, was fs.FileInfo) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %w: it was removed", path, ErrChanged)
	}
	if err != nil {
		return err
	}
	return changed(path, was, info)
}

// changed compares what a file was with what it is.
func changed(path string, was, is fs.FileInfo) error {
	switch {
	case !os.SameFile(was, is):
		return fmt.Errorf("%s %w: another file has its name now", path, ErrChanged)
	case was.Size() != is.Size():
		return fmt.Errorf("%s %w: it had %d bytes and has %d", path, ErrChanged, was.Size(), is.Size())
	case !was.ModTime().Equal(is.ModTime()):
		return fmt.Errorf("%s %w: it was written to at %s", path, ErrChanged, is.ModTime().Format("15:04:05"))
	}
	return nil
}
