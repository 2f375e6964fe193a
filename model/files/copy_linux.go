package files

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// clone makes out a file that shares the blocks of in, and says whether the file system did.
func clone(out, in *os.File) bool { return unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil }

// nextData finds the next bytes of a file, from at on, that are in no hole; both ends are size where there are none.
func nextData(f *os.File, at, size int64) (begin, end int64, err error) {
	begin, err = f.Seek(at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case err != nil:
		return at, size, nil // the file system does not tell: all of it is data
	}
	if end, err = f.Seek(begin, unix.SEEK_HOLE); err != nil {
		return 0, 0, err
	}
	return min(begin, size), min(end, size), nil
}
