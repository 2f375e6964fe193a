package corpus

import (
	"bufio"
	"fmt"
	"os"
)

// maxHeld is how much of what may not be wanted is held in memory: of windows, and of documents.
var maxHeld = 64 << 20 // bytes

// spill is a file for what waits until it is known whether it is wanted. It is there from the first write on, and vanishes with the process, whatever
// ends that, where the system removes open files.
type spill struct {
	dir    string // "" is the system's for temporary files
	size   int64
	file   *os.File
	to     *bufio.Writer
	remove func() error
}

func (s *spill) Write(data []byte) (int, error) {
	if s.file == nil {
		if err := s.open(); err != nil {
			return 0, err
		}
	}
	n, err := s.to.Write(data)
	s.size += int64(n)
	return n, s.wrong(err)
}

func (s *spill) open() (err error) {
	if s.file, err = os.CreateTemp(s.dir, "vkcome-corpus-*"); err != nil {
		return s.wrong(err)
	}
	name := s.file.Name()
	if s.remove = func() error { return os.Remove(name) }; os.Remove(name) == nil {
		s.remove = nil
	}
	s.to = bufio.NewWriterSize(s.file, 1<<18)
	return nil
}

func (s *spill) wrong(err error) error {
	if err == nil {
		return nil
	}
	dir := s.dir
	if dir == "" {
		dir = os.TempDir()
	}
	return fmt.Errorf("a part of the corpus to a file in %s: %w; choose another folder with corpus.Options.Dir or TMPDIR", dir, err)
}

// ReadAt reads what was written, all of dst.
func (s *spill) ReadAt(dst []byte, at int64) (int, error) {
	if err := s.to.Flush(); err != nil {
		return 0, s.wrong(err)
	}
	n, err := s.file.ReadAt(dst, at)
	return n, s.wrong(err)
}

func (s *spill) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.remove != nil {
		err = s.remove()
	}
	s.file = nil
	return err
}
