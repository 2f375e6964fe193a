package corpus

import (
	"bufio"
	"fmt"
	"os"

	"github.com/vkcome/vkcome/model/files"
)

// maxHeld is how much of what may not be wanted is held in memory: of windows, and of documents.
var maxHeld = 64 << 20 // bytes

// spill is a file for what waits until it is known whether it is wanted. It is there from the first write on, and vanishes with the process, whatever
// ends that.
type spill struct {
	dir  string // "" is the system's for temporary files
	size int64
	file *files.File
	to   *bufio.Writer
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
	if s.file, err = files.Scratch(s.dir, "vkcome-corpus-*"); err != nil {
		return s.wrong(err)
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
	return fmt.Errorf("a part of the corpus to a file in %s: %w; choose another folder with corpus.Options.Dir or %s", dir, err, files.TempVariable)
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
	s.file = nil
	return err
}
