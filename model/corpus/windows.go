package corpus

import (
	"encoding/binary"
	"io"
)

// windows keeps windows of one size until it is known which of them are wanted. Where only some will be, those beyond maxHeld are in a file.
type windows struct {
	spill
	some  bool
	n     int        // windows
	size  int        // tokens of each
	held  [][]uint32 // the first
	bytes int        // of these
}

func (w *windows) add(window []uint32) error {
	w.n, w.size = w.n+1, len(window)
	if w.file == nil && (!w.some || w.bytes+4*len(window) <= maxHeld) {
		w.held = append(w.held, window)
		w.bytes += 4 * len(window)
		return nil
	}
	return binary.Write(&w.spill, binary.LittleEndian, window)
}

// get gives a window, after all were added.
func (w *windows) get(i int) ([]uint32, error) {
	if i < len(w.held) {
		return w.held[i], nil
	}
	size := int64(4 * w.size)
	window := make([]uint32, w.size)
	return window, binary.Read(io.NewSectionReader(&w.spill, int64(i-len(w.held))*size, size), binary.LittleEndian, window)
}
