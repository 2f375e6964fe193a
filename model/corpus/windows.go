package corpus

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// maxHeld is how much of the windows that may not be wanted is held in memory.
var maxHeld = 64 << 20 // bytes

// windows keeps windows of one size until it is known which of them are wanted. Where only some will be, those beyond maxHeld are in a file.
type windows struct {
	dir    string
	some   bool
	n      int        // windows
	size   int        // tokens of each
	held   [][]uint32 // the first
	bytes  int        // of these
	file   *os.File
	to     *bufio.Writer
	remove func() error
}

func (w *windows) add(window []uint32) error {
	w.n, w.size = w.n+1, len(window)
	if w.file == nil && (!w.some || w.bytes+4*len(window) <= maxHeld) {
		w.held = append(w.held, window)
		w.bytes += 4 * len(window)
		return nil
	}
	if w.file == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	return w.wrong(binary.Write(w.to, binary.LittleEndian, window))
}

// open makes the file, which vanishes with the process, whatever ends that, where the system removes open files.
func (w *windows) open() (err error) {
	if w.file, err = os.CreateTemp(w.dir, "vkcome-tokens-*"); err != nil {
		return w.wrong(err)
	}
	name := w.file.Name()
	if w.remove = func() error { return os.Remove(name) }; os.Remove(name) == nil {
		w.remove = nil
	}
	w.to = bufio.NewWriterSize(w.file, 1<<18)
	return nil
}

func (w *windows) wrong(err error) error {
	if err == nil {
		return nil
	}
	dir := w.dir
	if dir == "" {
		dir = os.TempDir()
	}
	return fmt.Errorf("tokens to a file in %s: %w; choose another folder with corpus.Options.Dir or TMPDIR", dir, err)
}

// get gives a window, after all were added.
func (w *windows) get(i int) ([]uint32, error) {
	if i < len(w.held) {
		return w.held[i], nil
	}
	if err := w.to.Flush(); err != nil {
		return nil, w.wrong(err)
	}
	size := int64(4 * w.size)
	window := make([]uint32, w.size)
	r := io.NewSectionReader(w.file, int64(i-len(w.held))*size, size)
	return window, w.wrong(binary.Read(r, binary.LittleEndian, window))
}

func (w *windows) close() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	if w.remove != nil {
		err = w.remove()
	}
	w.file = nil
	return err
}
