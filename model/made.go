package model

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// made is a folder of files that are made, or lie elsewhere: how each is opened.
type made map[string]func() (fs.File, error)

// add adds a file whose contents are made each time it is opened.
func (m made) add(name string, contents func() ([]byte, error)) {
	m[name] = func() (fs.File, error) {
		raw, err := contents()
		if err != nil {
			return nil, err
		}
		return &madeFile{bytes.NewReader(raw), madeInfo{path.Base(name), int64(len(raw)), 0o444}}, nil
	}
}

func (m made) Open(name string) (fs.File, error) {
	if open, ok := m[name]; ok {
		return open()
	}
	entries := map[string]fs.DirEntry{}
	for file := range m {
		rest, inside := strings.CutPrefix(file, name+"/")
		if name == "." {
			rest, inside = file, true
		}
		if first, _, deeper := strings.Cut(rest, "/"); inside {
			entries[first] = madeEntry{first, path.Join(name, first), m, deeper}
		}
	}
	if len(entries) == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f := &madeFolder{name: path.Base(name)}
	for _, e := range slices.Sorted(maps.Keys(entries)) {
		f.entries = append(f.entries, entries[e])
	}
	return f, nil
}

type madeFile struct {
	*bytes.Reader
	info madeInfo
}

func (f *madeFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *madeFile) Close() error               { return nil }

type madeFolder struct {
	name    string
	entries []fs.DirEntry
}

func (d *madeFolder) Stat() (fs.FileInfo, error) { return madeInfo{d.name, 0, fs.ModeDir | 0o555}, nil }
func (d *madeFolder) Close() error               { return nil }

func (d *madeFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: fs.ErrInvalid}
}

// ReadDir lists the next n files, or all that are left.
func (d *madeFolder) ReadDir(n int) (list []fs.DirEntry, err error) {
	if n > 0 && len(d.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 {
		n = len(d.entries)
	}
	n = min(n, len(d.entries))
	list, d.entries = d.entries[:n], d.entries[n:]
	return list, nil
}

type madeEntry struct {
	name, path string
	files      made
	folder     bool
}

func (e madeEntry) Name() string { return e.name }
func (e madeEntry) IsDir() bool  { return e.folder }
func (e madeEntry) Type() fs.FileMode {
	if e.folder {
		return fs.ModeDir
	}
	return 0
}
func (e madeEntry) Info() (fs.FileInfo, error) { return fs.Stat(e.files, e.path) }

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
