package model

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"
)

// made is a folder of files whose contents are made each time they are opened.
type made map[string]func() ([]byte, error)

func (m made) Open(name string) (fs.File, error) {
	if name == "." {
		return &madeFolder{names: slices.Sorted(maps.Keys(m)), files: m}, nil
	}
	make, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	raw, err := make()
	if err != nil {
		return nil, err
	}
	return &madeFile{bytes.NewReader(raw), madeInfo{name, int64(len(raw)), 0o444}}, nil
}

type madeFile struct {
	*bytes.Reader
	info madeInfo
}

func (f *madeFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *madeFile) Close() error               { return nil }

type madeFolder struct {
	names []string
	files made
}

func (d *madeFolder) Stat() (fs.FileInfo, error) { return madeInfo{".", 0, fs.ModeDir | 0o555}, nil }
func (d *madeFolder) Close() error               { return nil }

func (d *madeFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: fs.ErrInvalid}
}

// ReadDir lists the next n files, or all that are left.
func (d *madeFolder) ReadDir(n int) (list []fs.DirEntry, err error) {
	if n > 0 && len(d.names) == 0 {
		return nil, io.EOF
	}
	count := len(d.names)
	if n > 0 {
		count = min(n, count)
	}
	for _, name := range d.names[:count] {
		list = append(list, madeEntry{name, d.files})
	}
	d.names = d.names[count:]
	return list, nil
}

type madeEntry struct {
	name  string
	files made
}

func (e madeEntry) Name() string               { return e.name }
func (e madeEntry) IsDir() bool                { return false }
func (e madeEntry) Type() fs.FileMode          { return 0 }
func (e madeEntry) Info() (fs.FileInfo, error) { return fs.Stat(e.files, e.name) }

type madeInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i madeInfo) Name() string       { return i.name }
func (i madeInfo) Size() int64        { return i.size }
func (i madeInfo) Mode() fs.FileMode  { return i.mode }
func (i madeInfo) ModTime() time.Time { return time.Time{} }
func (i madeInfo) IsDir() bool        { return i.mode.IsDir() }
func (i madeInfo) Sys() any           { return nil }
