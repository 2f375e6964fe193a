package pages

import (
	"os"

	"golang.org/x/sys/unix"
)

// All of these are advice: where the kernel does not take it, memory is fuller, and nothing else is lost.

func start(f *os.File, offset, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, n, unix.SYNC_FILE_RANGE_WRITE)
}

func settle(f *os.File, offset, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, n, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	_ = unix.Fadvise(int(f.Fd()), offset, n, unix.FADV_DONTNEED)
}

// Punch gives the space of a part of a file back to the disk.
func Punch(f *os.File, offset, n int64) {
	_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, n)
}

// Alloc takes n zeroed bytes beside Go's heap, whose collector leaves freed memory resident for a while. Free gives them back at once.
func Alloc(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

// Free gives back what Alloc took.
func Free(b []byte) error { return unix.Munmap(b) }
