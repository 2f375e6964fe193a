package pages

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Windows counts the pages of files that are written as its own, not as the process's, and has no limit for a group that they would fill.

func start(*os.File, int64, int64)  {}
func settle(*os.File, int64, int64) {}

// Punch gives the space of a part of a file back to the disk. That is advice: on a file system that has no holes the file stays as large as it is.
func Punch(f *os.File, offset, n int64) {
	var done uint32
	handle := windows.Handle(f.Fd())
	if windows.DeviceIoControl(handle, windows.FSCTL_SET_SPARSE, nil, 0, nil, 0, &done, nil) != nil {
		return
	}
	zero := struct{ from, to int64 }{offset, offset + n} // FILE_ZERO_DATA_INFORMATION
	_ = windows.DeviceIoControl(handle, windows.FSCTL_SET_ZERO_DATA, (*byte)(unsafe.Pointer(&zero)), uint32(unsafe.Sizeof(zero)), nil, 0, &done, nil)
}

// Alloc takes n zeroed bytes beside Go's heap, whose collector leaves freed memory resident for a while. Free gives them back at once.
func Alloc(n int) ([]byte, error) {
	at, err := windows.VirtualAlloc(0, uintptr(n), windows.MEM_RESERVE|windows.MEM_COMMIT, windows.PAGE_READWRITE)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&at))), n), nil // no memory of Go's, whatever vet thinks of such numbers
}

// Free gives back what Alloc took.
func Free(b []byte) error {
	return windows.VirtualFree(uintptr(unsafe.Pointer(unsafe.SliceData(b))), 0, windows.MEM_RELEASE)
}
