package report

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vkcome/vkcome/model/files"
)

// File is where a page is written.
type File struct {
	Path  string
	Force bool // replace a page that is there; anything else that is there is never replaced
}

// Check refuses a path that Write would refuse, before hours are spent: one that is there, whose folder is not, or where nothing can be written.
func (f File) Check() error {
	if err := f.free(); err != nil {
		return err
	}
	probe, err := files.CreateTemp(filepath.Dir(f.Path), ".vkcome-report-")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// free says whether the name is free, or that of a page that may be replaced.
func (f File) free() error {
	dir := filepath.Dir(f.Path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("report: %s: the folder %s does not exist", f.Path, dir)
	}
	info, err := os.Lstat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("report: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("report: %s exists already and is no file: it will not be replaced", f.Path)
	}
	ours, err := isPage(f.Path)
	switch {
	case err != nil:
		return fmt.Errorf("report: %w", err)
	case !ours:
		return fmt.Errorf("report: %s exists already and is no report of vkcome: it will not be replaced; choose another name", f.Path)
	case !f.Force:
		return fmt.Errorf("report: %s exists already; choose another name, or report.File.Force to replace it", f.Path)
	}
	return nil
}

// isPage says whether a file begins as Write begins one.
func isPage(path string) (bool, error) {
	f, err := files.Open(path, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	begin := make([]byte, 256)
	n, err := f.Read(begin)
	if n == 0 {
		return false, nil // empty, or not to be read
	}
	return bytes.Contains(begin[:n], []byte(`<meta name="generator" content="`+Generator+" ")), err
}

// Write writes a page. It has its name once it is whole.
func (f File) Write(p Page) (size int, err error) {
	var text bytes.Buffer
	if err := p.Write(&text); err != nil {
		return 0, err
	}
	if err := f.free(); err != nil {
		return 0, err
	}
	tmp, err := files.CreateTemp(filepath.Dir(f.Path), ".vkcome-report-")
	if err != nil {
		return 0, fmt.Errorf("report: %w", err)
	}
	defer func() {
		if removed := os.Remove(tmp.Name()); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}()
	_, err = tmp.Write(text.Bytes())
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return 0, fmt.Errorf("report: %w", err)
	}
	if f.Force {
		err = files.Rename(tmp.Name(), f.Path)
	} else {
		err = files.Link(tmp.Name(), f.Path) // which overwrites nothing, also of what came meanwhile
	}
	if err != nil {
		return 0, fmt.Errorf("report: %w", err)
	}
	return text.Len(), nil
}
