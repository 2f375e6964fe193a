// Package pages says what the system should keep in memory: pages of files that were written, and memory beside Go's heap. Where a system has
// no such calls, they do nothing.
package pages

import "os"

// behind is how many bytes of a file are written before the disk is asked for them.
const behind = 32 << 20

// Written is how far a file that is written from its beginning has come. Its pages go to the disk and out of memory while it is
// written, so that a cgroup does not fill with them.
type Written struct{ file, disk int64 }

// Add tells that n more bytes were written.
func (w *Written) Add(f *os.File, n int) {
	w.file += int64(n)
	for w.file-w.disk >= 2*behind { // the last part is on its way while the next is written
		settle(f, w.disk, behind)
		w.disk += behind
		start(f, w.disk, behind)
	}
}
