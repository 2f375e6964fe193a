package ui

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// paths are the folders that the application was opened for. A path from a page must lie in one of them, as it is written and after its links
// are followed, and no part of it below that folder may be hidden: keys and passwords of other programs lie in hidden folders.
type paths struct{ roots []string }

func newPaths(roots []string) (*paths, error) {
	p := &paths{}
	for _, root := range roots {
		abs, err := filepath.Abs(root)
		if err == nil {
			abs, err = filepath.EvalSymlinks(abs)
		}
		if err != nil {
			return nil, err
		}
		if info, err := os.Stat(abs); err != nil || !info.IsDir() {
			return nil, errors.Join(fmt.Errorf("%s: not a folder", root), err)
		}
		if !slices.Contains(p.roots, abs) {
			p.roots = append(p.roots, abs)
		}
	}
	if len(p.roots) == 0 {
		return nil, errors.New("ui: no folder to work in")
	}
	return p, nil
}

// inside says whether a clean absolute path is one of the folders or lies below one, with no hidden part.
func (p *paths) inside(path string) bool {
	return slices.ContainsFunc(p.roots, func(root string) bool {
		below, err := filepath.Rel(root, path)
		return err == nil && (below == "." || filepath.IsLocal(below) && !hidden(below))
	})
}

func hidden(path string) bool {
	return slices.ContainsFunc(strings.Split(path, string(filepath.Separator)), func(part string) bool { return strings.HasPrefix(part, ".") })
}

// existing is the file or folder that a page names, with its links followed. Nothing is asked of the file system about a path outside.
func (p *paths) existing(name string) (string, error) {
	path, err := p.absolute(name)
	if err != nil {
		return "", err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	if !p.inside(path) {
		return "", p.outside(name)
	}
	return path, nil
}

// output is what a page wants written: its folder exists.
func (p *paths) output(name string) (string, error) {
	path, err := p.absolute(name)
	if err != nil {
		return "", err
	}
	dir, err := p.existing(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	if path = filepath.Join(dir, filepath.Base(path)); slices.Contains(p.roots, path) || !p.inside(path) {
		return "", p.outside(name)
	}
	return path, nil
}

// absolute is a path as it is written, from the first folder on if it is relative.
func (p *paths) absolute(name string) (string, error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return "", refusedf(http.StatusBadRequest, "no path is given")
	}
	path := filepath.Clean(name)
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.roots[0], path)
	}
	if !p.inside(path) {
		return "", p.outside(name)
	}
	return path, nil
}

func (p *paths) outside(name string) error {
	return refusedf(http.StatusForbidden, "%s is hidden, or outside of the folders that this application was opened for (%s): start it with --root FOLDER", name, strings.Join(p.roots, ", "))
}

// entry is a file or folder of a list to choose from.
type entry struct {
	Name string `json:"name"`
	Path string `json:"path"`
	Dir  bool   `json:"dir"`
}

// maxEntries bounds a list: a page is no place for more.
const maxEntries = 500

// list is what a folder has that is not hidden, folders first; of "" the folders that the application was opened for.
func (p *paths) list(name string) (dir, parent string, entries []entry, err error) {
	entries = []entry{}
	if name == "" {
		for _, root := range p.roots {
			entries = append(entries, entry{root, root, true})
		}
		return "", "", entries, nil
	}
	if dir, err = p.existing(name); err != nil {
		return "", "", nil, err
	}
	found, err := os.ReadDir(dir)
	if err != nil {
		return "", "", nil, err
	}
	for _, e := range found {
		path := filepath.Join(dir, e.Name())
		if hidden(e.Name()) {
			continue
		}
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
			continue
		}
		if _, err := p.existing(path); err != nil {
			continue // a link that leads out
		}
		entries = append(entries, entry{e.Name(), path, info.IsDir()})
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		if a.Dir != b.Dir {
			if a.Dir {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	if parent = filepath.Dir(dir); !p.inside(parent) {
		parent = ""
	}
	return dir, parent, entries[:min(len(entries), maxEntries)], nil
}
