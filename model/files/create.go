package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// What follows is what vkcome does to files that it writes: package os with one place where a test lets any step of it fail. Whatever is
// called good later, or is left to resume from, is written through it.

// Fault, unless it is nil, is asked before every step on a file or folder that is written, and its error, where it has one, is what the step
// gives. The steps are "create", "write", which then has written half of its bytes, "sync", "close", after which the file is closed all the
// same, and "rename". Only tests set it, before anything is written.
var Fault func(step, path string) error

func fault(step, path string) error {
	if Fault == nil {
		return nil
	}
	if err := Fault(step, path); err != nil {
		return &fs.PathError{Op: step, Path: path, Err: err}
	}
	return nil
}

// File is a file that is written.
type File struct{ *os.File }

// made is what package os makes.
func made(path string, create func() (*os.File, error)) (*File, error) {
	if err := fault("create", path); err != nil {
		return nil, err
	}
	f, err := create()
	if err != nil {
		return nil, err
	}
	return &File{f}, nil
}

// OpenFile is os.OpenFile.
func OpenFile(path string, flag int, perm os.FileMode) (*File, error) {
	return made(path, func() (*os.File, error) { return os.OpenFile(path, flag, perm) })
}

// CreateTemp is os.CreateTemp.
func CreateTemp(dir, pattern string) (*File, error) {
	return made(dir, func() (*os.File, error) { return os.CreateTemp(dir, pattern) })
}

// Scratch makes a file for what a run needs for a while. It vanishes with the process, whatever ends that: its name at once, and on Windows with the
// file's last handle.
func Scratch(dir, pattern string) (*File, error) {
	return made(dir, func() (*os.File, error) { return scratch(dir, pattern) })
}

// Write is os.File's.
func (f *File) Write(data []byte) (int, error) {
	if err := fault("write", f.Name()); err != nil {
		n, _ := f.File.Write(data[:len(data)/2]) // the step's own error is told
		return n, err
	}
	return f.File.Write(data)
}

// WriteAt is os.File's.
func (f *File) WriteAt(data []byte, offset int64) (int, error) {
	if err := fault("write", f.Name()); err != nil {
		n, _ := f.File.WriteAt(data[:len(data)/2], offset) // the step's own error is told
		return n, err
	}
	return f.File.WriteAt(data, offset)
}

// ReadFrom is os.File's, which io.Copy prefers to Write.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	if Fault != nil {
		return io.Copy(struct{ io.Writer }{f}, r)
	}
	return f.File.ReadFrom(r)
}

// Sync is os.File's.
func (f *File) Sync() error {
	if err := fault("sync", f.Name()); err != nil {
		return err
	}
	return f.File.Sync()
}

// Close is os.File's.
func (f *File) Close() error {
	err := f.File.Close()
	if failed := fault("close", f.Name()); failed != nil {
		return failed
	}
	return err
}

// WriteFile is os.WriteFile.
func WriteFile(path string, data []byte, perm os.FileMode) error {
	f, err := OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// WriteNew writes a file that is not there yet, and has its name once it is whole. If there is one, the error matches fs.ErrExist and it stays.
func WriteNew(path string, data []byte, perm os.FileMode) (err error) {
	f, err := CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-")
	if err != nil {
		return err
	}
	defer func() {
		if removed := os.Remove(f.Name()); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(perm), f.Close()); err != nil {
		return err
	}
	return Link(f.Name(), path)
}

// Mkdir is os.Mkdir.
func Mkdir(path string, perm os.FileMode) error {
	if err := fault("create", path); err != nil {
		return err
	}
	return os.Mkdir(path, perm)
}

// MkdirAll is os.MkdirAll.
func MkdirAll(path string, perm os.FileMode) error {
	if err := fault("create", path); err != nil {
		return err
	}
	return os.MkdirAll(path, perm)
}

// MkdirTemp is os.MkdirTemp.
func MkdirTemp(dir, pattern string) (string, error) {
	if err := fault("create", dir); err != nil {
		return "", err
	}
	return os.MkdirTemp(dir, pattern)
}

// Rename is os.Rename. On Windows it waits a while for whoever has one of the two open, as scanners of viruses and indexes have what is new.
func Rename(from, to string) error {
	if err := fault("rename", to); err != nil {
		return err
	}
	return rename(from, to)
}

// Remove is os.Remove, which waits on Windows as Rename does.
func Remove(path string) error { return remove(path) }

// ReadDir is os.ReadDir, which waits on Windows for whoever is removing the folder, and then says that it is not there.
func ReadDir(path string) ([]os.DirEntry, error) { return readDir(path) }

// Link is os.Link.
func Link(from, to string) error {
	if err := fault("rename", to); err != nil {
		return err
	}
	return os.Link(from, to)
}
