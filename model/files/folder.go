package files

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Folder is the files of a folder that somebody else made. Of these it opens regular ones alone, through links too, and no pipe holds it up. It
// may be used from several goroutines.
type Folder struct {
	dir string

	mu     sync.Mutex
	opened map[string]fs.FileInfo // as they were when they were opened first
}

// NewFolder is the folder of a path.
func NewFolder(dir string) *Folder { return &Folder{dir: dir, opened: map[string]fs.FileInfo{}} }

func (d *Folder) path(op, name string) (string, error) {
	path, err := Join(d.dir, name)
	if err != nil {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return path, nil
}

// Join is the path of a name, with slashes, below a folder. A name that leads elsewhere is an error: with "..", and on Windows with a backslash, a
// drive, the stream of a file behind a colon, or a device, as aux and con.txt are.
func Join(dir, name string) (string, error) {
	local, err := filepath.Localize(name)
	if err != nil {
		return "", wrong(name, "is no name of a file below a folder here")
	}
	return filepath.Join(dir, local), nil
}

// Open opens a regular file or a folder.
func (d *Folder) Open(name string) (fs.File, error) {
	path, err := d.path("open", name)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return os.Open(path)
	}
	f, err := Open(path, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, again := d.opened[name]; !again {
		d.opened[name] = info
	}
	return f, nil
}

// Read reads a regular file of at most so many bytes.
func (d *Folder) Read(name string, most int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	path, err := d.path("read", name)
	if err != nil {
		return nil, err
	}
	if err := check(path, info, most); err != nil {
		return nil, err
	}
	return all(path, f, most)
}

// Stat says what a file is, without opening it.
func (d *Folder) Stat(name string) (fs.FileInfo, error) {
	path, err := d.path("stat", name)
	if err != nil {
		return nil, err
	}
	return os.Stat(path)
}

// ReadDir lists a folder.
func (d *Folder) ReadDir(name string) ([]fs.DirEntry, error) {
	path, err := d.path("readdir", name)
	if err != nil {
		return nil, err
	}
	return os.ReadDir(path)
}

// Unchanged is an error if a file that was opened is another now than the first time, or was written to since.
func (d *Folder) Unchanged() error {
	d.mu.Lock()
	opened := maps.Clone(d.opened)
	d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(opened)) {
		if err := unchanged(filepath.Join(d.dir, filepath.FromSlash(name)), opened[name]); err != nil {
			return err
		}
	}
	return nil
}

// Inside is an error if a file lies elsewhere, to which a link leads out of the folder: copied, it would be given away with a model that its
// owner never put it into. The links of a cache of Hugging Face lead from the snapshots of a repository to its blobs, which are the folder's
// own.
func (d *Folder) Inside(name string) error {
	path, err := d.path("open", name)
	if err != nil {
		return err
	}
	root, err := filepath.EvalSymlinks(d.dir)
	if err != nil {
		return err
	}
	file, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if root, err = filepath.Abs(root); err != nil {
		return err
	}
	if file, err = filepath.Abs(file); err != nil {
		return err
	}
	if below(root, file) {
		return nil
	}
	if snapshots := filepath.Dir(root); filepath.Base(snapshots) == "snapshots" {
		repository := filepath.Dir(snapshots)
		if strings.HasPrefix(filepath.Base(repository), "models--") && below(filepath.Join(repository, "blobs"), file) {
			return nil
		}
	}
	return fmt.Errorf("%s is a link to %s, outside of its folder: put the file itself there, or remove the link", path, file)
}

func below(root, file string) bool {
	rest, err := filepath.Rel(root, file)
	return err == nil && filepath.IsLocal(rest)
}
