// Package pages says what of a process' memory the system should keep resident: pages of mapped files that were read, of files that
// were written, and memory beside Go's heap. Where a system has no such calls, they do nothing.
package pages

import (
	"os"
	"unsafe"
)

// Drop lets the system take back the pages of a mapped file that hold b, which lies in the mapping whole. They are read again when
// they are touched.
func Drop(whole, b []byte) {
	if len(b) == 0 || !Inside(whole, b) {
		return
	}
	page := os.Getpagesize()
	begin := int(uintptr(unsafe.Pointer(&b[0])) - uintptr(unsafe.Pointer(&whole[0])))
	end := min(len(whole), (begin+len(b)+page-1)/page*page)
	drop(whole[begin/page*page : end])
}

// Inside says whether b is a part of whole.
func Inside(whole, b []byte) bool {
	if len(whole) == 0 || len(b) == 0 {
		return false
	}
	first, at := uintptr(unsafe.Pointer(&whole[0])), uintptr(unsafe.Pointer(&b[0]))
	return at >= first && at-first <= uintptr(len(whole)-len(b)) && len(b) <= len(whole)
}

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
