// Package files opens what comes from outside: files whose names, sizes and contents nobody vouches for. A pipe would be waited for without
// end, a device read without end, and a sparse file of terabytes taken into memory; here each of them is an error before a byte is read.
package files

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/dustin/go-humanize"
)

// Open opens a regular file of at most so many bytes for reading; most of 0 is no bound. A link is followed. Anything else than a regular
// file is an error that says what it is, and matches fs.ErrInvalid.
func Open(path string, most int64) (*os.File, error) {
	// The kind is asked of what was opened, which nobody can exchange any more.
	f, err := os.OpenFile(path, os.O_RDONLY|NoWait, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = check(path, info, most)
	}
	if err != nil {
		f.Close() // nothing was written to it
		return nil, err
	}
	return f, nil
}

// Read reads a regular file of at most so many bytes, more of which are an error.
func Read(path string, most int64) ([]byte, error) {
	f, err := Open(path, most)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return all(path, f, most)
}

// ReadFS reads a file of a file system as Read does.
func ReadFS(files fs.FS, name string, most int64) ([]byte, error) {
	if d, ok := files.(*Folder); ok {
		return d.Read(name, most)
	}
	info, err := fs.Stat(files, name)
	if err != nil {
		return nil, err
	}
	if err := check(name, info, most); err != nil {
		return nil, err
	}
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return all(name, f, most)
}

// Check says whether a path is what Open opens, without opening it.
func Check(path string, most int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return check(path, info, most)
}

func check(path string, info fs.FileInfo, most int64) error {
	mode := info.Mode()
	switch {
	case mode.IsDir():
		return wrong(path, "is a folder, expected a file")
	case !mode.IsRegular():
		return wrong(path, "is a "+kind(mode)+", expected a regular file")
	case most > 0 && info.Size() > most:
		return tooLarge(path, info.Size(), most)
	}
	return nil
}

// kind names what is no regular file.
func kind(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

func wrong(path, what string) error {
	return &Error{Path: path, What: what}
}

func tooLarge(path string, size, most int64) error {
	has, bound := humanize.IBytes(uint64(size)), humanize.IBytes(uint64(most))
	if has == bound {
		has, bound = fmt.Sprintf("%d bytes", size), fmt.Sprint(most)
	}
	return wrong(path, fmt.Sprintf("has %s, expected at most %s", has, bound))
}

// all reads a file whose size was checked: it may grow meanwhile.
func all(path string, f io.Reader, most int64) ([]byte, error) {
	if most == 0 {
		return io.ReadAll(f)
	}
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(raw)) > most {
		err = wrong(path, "grew while it was read beyond "+humanize.IBytes(uint64(most)))
	}
	return raw, err
}

// Error is a file that is not what is read: of another kind, or too large.
type Error struct{ Path, What string }

func (e *Error) Error() string { return e.Path + " " + e.What }

// Unwrap makes it an fs.ErrInvalid.
func (e *Error) Unwrap() error { return fs.ErrInvalid }
