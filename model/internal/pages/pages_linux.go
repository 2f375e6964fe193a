package pages

import (
	"bytes"
	"os"
	"strconv"

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

// Resident is the process' resident memory in bytes, 0 where the system does not tell.
func Resident() int64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(raw)
	if len(fields) < 2 {
		return 0
	}
	n, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return n * int64(os.Getpagesize())
}
