package work

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
)

// A folder that is written has a list in it, model.FileList, of the files that vkcome writes there: from its first moment their names, at the end
// their sizes too, and what tells whether they are still the same. By it a folder is known to be vkcome's, and what is in it that is not: nothing else is ever removed.

const (
	listFormat = "vkcome files 1"
	maxList    = 16 << 20 // bytes: names and hashes of 100,000 files

	// A file of more bytes is known by the time of its last change instead of a SHA-256, for which all that was written would have to be read again:
	// a minute for a model of 14 GB, and one for each time that it is replaced.
	maxSummed = 1 << 30
)

// list is what is in model.FileList.
type list struct {
	Unfinished bool     `json:"unfinished,omitempty"` // the files are being written: their names may be patterns of path.Match
	Files      []listed `json:"files"`
}

// listed is a file of a folder by its name there, with slashes, and from its end on what was written to it.
type listed struct {
	Name     string     `json:"name"`
	Size     int64      `json:"size"`
	SHA256   string     `json:"sha256,omitempty"`
	Modified *time.Time `json:"modified,omitempty"` // of one larger than maxSummed, instead
}

func (l *list) check() error {
	names := map[string]bool{}
	for _, f := range l.Files {
		switch {
		case !filepath.IsLocal(f.Name) || path.Clean(f.Name) != f.Name || strings.Count(f.Name, "/") > 1 || names[f.Name]:
			return fmt.Errorf("lists %.80q, expected each name once, and in the folder", f.Name)
		case !l.Unfinished && (f.Size < 0 || f.Size <= maxSummed && !isSum(f.SHA256) || f.Size > maxSummed && f.Modified == nil):
			return fmt.Errorf("lists %.80q with a size of %d and the SHA-256 %.80q", f.Name, f.Size, f.SHA256)
		}
		names[f.Name] = true
	}
	return nil
}

func isSum(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == sha256.Size && hex.EncodeToString(raw) == text
}

// find is the entry of a file.
func (l *list) find(name string) (listed, bool) {
	i := slices.IndexFunc(l.Files, func(f listed) bool {
		if !l.Unfinished {
			return f.Name == name
		}
		match, err := path.Match(f.Name, name)
		return match && err == nil
	})
	if i < 0 {
		return listed{}, false
	}
	return l.Files[i], true
}

// folder says whether a file is in a folder, whose name ends in a slash.
func (l *list) folder(name string) bool {
	return strings.HasSuffix(name, "/") && slices.ContainsFunc(l.Files, func(f listed) bool { return strings.HasPrefix(f.Name, name) })
}

func readList(dir string) (*list, error) {
	raw, err := files.Read(filepath.Join(dir, model.FileList), maxList)
	if err != nil {
		return nil, err
	}
	var l list
	err = Unseal(raw, listFormat, &l)
	if err == nil {
		err = l.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s %w", model.FileList, err)
	}
	return &l, nil
}

func writeList(dir string, l *list) error {
	text, err := Seal(listFormat, l)
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, model.FileList), text)
}

// Begin makes a folder, which does not exist, for files whose names are of these patterns, as path.Match has them: a later End lists them,
// and Discard removes them before.
func Begin(dir string, patterns []string) error {
	if err := files.Mkdir(dir, 0o755); err != nil {
		return err
	}
	l := list{Unfinished: true}
	for _, p := range slices.Compact(slices.Sorted(slices.Values(patterns))) {
		l.Files = append(l.Files, listed{Name: p})
	}
	return writeList(dir, &l)
}

// End lists the files that were written to a folder since its Begin, and brings all to the disk.
func End(ctx context.Context, dir string) error {
	before, err := readList(dir)
	if err != nil {
		return err
	}
	names, err := contents(dir)
	if err != nil {
		return err
	}
	var known []string
	for _, name := range names {
		if _, ok := before.find(name); ok {
			known = append(known, name)
		}
	}
	if err := Adopt(ctx, dir, known); err != nil {
		return err
	}
	folders, err := foldersOf(dir)
	for _, folder := range folders {
		err = errors.Join(err, Sync(filepath.Join(dir, folder)))
	}
	return errors.Join(err, Sync(dir))
}

// Adopt lists files of a folder, as they are, as what vkcome wrote there.
func Adopt(ctx context.Context, dir string, names []string) error {
	l := list{Files: []listed{}}
	for _, name := range slices.Sorted(slices.Values(names)) {
		f, err := measure(ctx, filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		f.Name = name
		l.Files = append(l.Files, f)
	}
	return writeList(dir, &l)
}

// Relist lists a file of a folder, which has a list, anew: vkcome wrote it again, or wrote it now.
func Relist(ctx context.Context, dir, name string) error {
	l, err := readList(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	f, err := measure(ctx, filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	f.Name = name
	l.Files = slices.DeleteFunc(l.Files, func(f listed) bool { return f.Name == name })
	at, _ := slices.BinarySearchFunc(l.Files, name, func(f listed, name string) int { return strings.Compare(f.Name, name) })
	l.Files = slices.Insert(l.Files, at, f)
	return writeList(dir, l)
}

// measure is what is listed of a file but its name.
func measure(ctx context.Context, path string) (f listed, err error) {
	in, err := files.Open(path, 0)
	if err != nil {
		return f, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return f, err
	}
	if f.Size = info.Size(); f.Size > maxSummed {
		at := info.ModTime().UTC()
		f.Modified = &at
		return f, nil
	}
	if f.Size, f.SHA256, err = sumOf(ctx, io.LimitReader(in, maxSummed+1)); err == nil && f.Size > maxSummed {
		err = fmt.Errorf("%s grew while it was read", path)
	}
	return f, err
}

// sumOf reads to the end, and gives how many bytes there were and their SHA-256 in hexadecimal.
func sumOf(ctx context.Context, r io.Reader) (size int64, sum string, err error) {
	h := sha256.New()
	size, err = io.Copy(h, files.Heed(ctx, r))
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// contents lists what is in a folder and in its folders, but for the list itself: names with slashes. That of an empty folder ends in one.
func contents(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if !e.IsDir() {
			if e.Name() != model.FileList {
				names = append(names, e.Name())
			}
			continue
		}
		inner, innerErr := os.ReadDir(filepath.Join(dir, e.Name()))
		err = errors.Join(err, innerErr)
		for _, i := range inner {
			names = append(names, e.Name()+"/"+i.Name())
		}
		if len(inner) == 0 {
			names = append(names, e.Name()+"/")
		}
	}
	return names, err
}

func foldersOf(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Foreign is the error for what is in a folder and is not known to be vkcome's.
type Foreign struct {
	Dir, Name string
	Why       string // after the name
	More      int    // others
}

func (e *Foreign) Error() string {
	more := ""
	if e.More > 0 {
		more = fmt.Sprintf(" (and %d more)", e.More)
	}
	return fmt.Sprintf("%s%s %s: what vkcome did not write is not removed; move it away", filepath.Join(e.Dir, filepath.FromSlash(e.Name)), more, e.Why)
}

// ErrNoList is the error for a folder without a list: vkcome did not write it, or an earlier one did.
var ErrNoList = errors.New("has no " + model.FileList)

// Check says whether all that is in a folder is what vkcome wrote there, as it wrote it: a *Foreign names what is not. thorough compares the
// SHA-256 of files beyond 64 MiB too, which takes as long as reading them; beyond 1 GiB there is none.
func Check(ctx context.Context, dir string, thorough bool) error {
	const quick = 64 << 20
	l, err := readList(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %w", dir, ErrNoList)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	names, err := contents(dir)
	if err != nil {
		return err
	}
	var first *Foreign
	found := func(name, why string) {
		if first == nil {
			first = &Foreign{Dir: dir, Name: name, Why: why}
		} else {
			first.More++
		}
	}
	for _, name := range names {
		f, ok := l.find(name)
		path := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case l.folder(name):
		case !ok:
			found(name, "is not among the files that vkcome wrote")
		case !info.Mode().IsRegular():
			found(name, "is no file any more")
		case l.Unfinished:
		case info.Size() != f.Size:
			found(name, fmt.Sprintf("was changed: it has %d bytes, of which vkcome wrote %d", info.Size(), f.Size))
		case f.Size > maxSummed || thorough || f.Size <= quick:
			if is, err := measure(ctx, path); err != nil {
				return err
			} else if is.SHA256 != f.SHA256 || f.Size > maxSummed && !is.Modified.Equal(*f.Modified) {
				found(name, "was changed since vkcome wrote it")
			}
		}
	}
	if first != nil {
		return first
	}
	return nil
}

// Names are the files of a folder, with slashes, but for the list. Links and whatever is neither file nor folder are a *Foreign.
func Names(dir string) (names []string, err error) {
	if names, err = contents(dir); err != nil {
		return nil, err
	}
	for _, name := range names {
		info, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, &Foreign{Dir: dir, Name: name, Why: "is no file that vkcome writes"}
		}
	}
	return names, nil
}

// Discard removes a folder that Begin made, if there is one and if Check finds all in it to be vkcome's; else nothing. One that a crash left
// half made, or half removed, goes too.
func Discard(ctx context.Context, dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return &Foreign{Dir: filepath.Dir(dir), Name: filepath.Base(dir), Why: "is no folder of vkcome's"}
	}
	names, err := contents(dir)
	if err != nil {
		return err
	}
	l, err := readList(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(names) == 0: // nothing is lost with it
		return files.Remove(dir)
	case errors.Is(err, fs.ErrNotExist) && len(names) == 1 && names[0] == model.FileList+temporary && torn(filepath.Join(dir, names[0]), listFormat):
		return errors.Join(files.Remove(filepath.Join(dir, names[0])), files.Remove(dir))
	case errors.Is(err, fs.ErrNotExist) && len(names) > 0:
		return &Foreign{Dir: dir, Name: names[0], More: len(names) - 1, Why: "lies in a folder without a " + model.FileList}
	case err != nil:
		return fmt.Errorf("%s: %w", dir, err)
	}
	if l.Unfinished { // its list may be in the middle of being replaced
		if i := slices.Index(names, model.FileList+temporary); i >= 0 && torn(filepath.Join(dir, names[i]), listFormat) {
			if err := files.Remove(filepath.Join(dir, names[i])); err != nil {
				return err
			}
		}
	}
	if err := Check(ctx, dir, false); err != nil {
		return err
	}
	return removeListed(dir)
}

// removeListed removes the files that are listed, and then the folder, if nothing else is in it.
func removeListed(dir string) error {
	l, err := readList(dir)
	if err != nil {
		return err
	}
	for _, known := range []func(name string) bool{func(name string) bool { _, ok := l.find(name); return ok }, l.folder} {
		names, err := contents(dir)
		for _, name := range names {
			if known(name) {
				err = errors.Join(err, files.Remove(filepath.Join(dir, filepath.FromSlash(name))))
			}
		}
		if err != nil {
			return err
		}
	}
	names, err := contents(dir)
	switch {
	case err != nil:
		return err
	case len(names) > 0: // came meanwhile
		return &Foreign{Dir: dir, Name: names[0], More: len(names) - 1, Why: "is not among the files that vkcome wrote"}
	}
	if err := files.Remove(filepath.Join(dir, model.FileList)); err != nil { // last: until then the folder is known
		return err
	}
	return files.Remove(dir)
}

// torn says whether a file is one that Seal's text was being written to, or empty.
func torn(path, format string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	raw, err := files.Read(path, maxList)
	return err == nil && (len(raw) == 0 || Sealed(raw, format))
}

// Replace gives the folder tmp, which End has listed, the name out. A folder of that name, which Check has found to be vkcome's, makes way,
// and comes back if it does not work out.
func Replace(tmp, out string) error {
	if _, err := os.Lstat(out); err != nil {
		return files.Rename(tmp, out)
	}
	old := tmp + Replaced
	if err := files.Rename(out, old); err != nil {
		return err
	}
	if err := files.Rename(tmp, out); err != nil {
		return errors.Join(err, files.Rename(old, out))
	}
	return removeListed(old)
}

// Replaced is the end of the name of a folder that makes way for another.
const Replaced = ".old"
