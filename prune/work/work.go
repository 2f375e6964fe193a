// Package work keeps what a long run has done in a folder, so that the run goes on after a crash, a kill or a lost device.
//
// The folder holds a lock, a manifest with what the run's result depends on, the newest checkpoint, and the layers of its model that
// are not the original's. Nothing counts before it has its final name, and nothing gets that before it is on the disk.
package work

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
)

// Field is one thing that a run's result depends on.
type Field struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Device bool   `json:"device,omitempty"` // of what the run computes on, see Options.AnyDevice
}

// Options say what to do with what an earlier run left. Messages name those of prune.Output, from which they come.
type Options struct {
	Resume    bool // go on from its newest checkpoint; where there is none, start afresh
	Discard   bool // without Resume: remove it
	AnyDevice bool // with Resume: fields of the device may differ

	// Names gives the Go names of options by the names of their fields, for messages.
	Names map[string]string
}

// Errors of Open that callers tell apart.
var (
	ErrLocked    = errors.New("is in use")
	ErrForeign   = errors.New("is no work folder of vkcome")
	ErrSteps     = errors.New("holds the steps of an unfinished run")
	ErrDifferent = errors.New("holds the steps of another run")
)

// format is the version of what a work folder holds.
const format = 1

type manifest struct {
	Format int     `json:"format"`
	Key    []Field `json:"key"`
}

// Folder is a work folder whose lock this process holds. One goroutine uses it at a time.
type Folder struct {
	dir      string
	lock     *flock.Flock
	original *model.Model
	made     map[*model.Layer]file // the layers that are in files of the folder
	closers  []io.Closer           // of the files that are mapped
	mapped   map[string]bool
}

// file is a file of the folder and the SHA-256 of its contents.
type file struct{ name, sum string }

const (
	lockName     = "lock"
	ownerName    = "owner"
	manifestName = "manifest.json"
	stepPattern  = "step-%06d"
	layerPattern = "layer-%06d-%06d.safetensors" // step and place in the model
	temporary    = ".tmp"
)

// ours says whether a name is one that this package gives.
func ours(name string) bool {
	name = strings.TrimSuffix(name, temporary)
	return name == lockName || name == ownerName || name == manifestName || strings.HasPrefix(name, "step-") || strings.HasPrefix(name, "layer-")
}

// Open makes dir a work folder for a run on original, or takes hold of the one that is there, until Close or Remove. Its parent must
// exist. key is all that the run's result depends on.
//
// Another process that has it open gives ErrLocked; steps of an earlier run ErrSteps, unless they are to be resumed or discarded, and
// ErrDifferent if they are to be resumed and a field of the key differs.
func Open(dir string, original *model.Model, key []Field, o Options) (*Folder, error) {
	f := &Folder{dir: dir, original: original, made: map[*model.Layer]file{}, mapped: map[string]bool{}}
	if err := f.acquire(); err != nil {
		return nil, fmt.Errorf("work: %s %w", dir, err)
	}
	if err := f.prepare(key, o); err != nil {
		return nil, errors.Join(fmt.Errorf("work: %s %w", dir, err), f.Close())
	}
	return f, nil
}

// acquire takes the lock of the folder that has the name when it returns.
func (f *Folder) acquire() error {
	for {
		if err := files.Mkdir(f.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cannot be made: %w", err)
		}
		entries, err := os.ReadDir(f.dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a run that has ended just removed it
		}
		if err != nil {
			return fmt.Errorf("cannot be read: %w", err)
		}
		for _, e := range entries {
			if !ours(e.Name()) {
				return fmt.Errorf("%w: it holds %s; name another with prune.Output.Work", ErrForeign, e.Name())
			}
		}
		f.lock, err = take(filepath.Join(f.dir, lockName))
		switch {
		case errors.Is(err, fs.ErrNotExist): // its folder was removed meanwhile
			continue
		case err != nil:
			return fmt.Errorf("cannot be locked: %w", err)
		case f.lock == nil:
			owner, err := os.ReadFile(filepath.Join(f.dir, ownerName))
			if err != nil {
				owner = []byte("another process") // which has not told its name yet
			}
			return fmt.Errorf("%w by %s: one run at a time", ErrLocked, owner)
		}
		return nil
	}
}

// take locks the file that has the name when it returns, nil if another process has.
func take(path string) (*flock.Flock, error) {
	for {
		lock := flock.New(path, flock.SetPermissions(0o644))
		if held, err := lock.TryLock(); err != nil || !held {
			return nil, err
		}
		mine, err := lock.Stat()
		if err != nil {
			return nil, errors.Join(err, lock.Close())
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(mine, now) {
			return lock, nil
		}
		if err := lock.Close(); err != nil { // it was removed meanwhile
			return nil, err
		}
	}
}

// Lock makes a file that only one process has at a time; with ErrLocked another has it. unlock removes it.
func Lock(path string) (unlock func() error, err error) {
	lock, err := take(path)
	if err == nil && lock == nil {
		err = ErrLocked
	}
	if err != nil {
		return nil, err
	}
	return func() error { return release(lock, path) }, nil
}

// release removes a lock.
func release(lock *flock.Flock, path string) error {
	early := os.Remove(path) // while it is held, so that nobody takes it in between
	err := lock.Close()
	if early != nil && err == nil { // where open files cannot be removed
		err = os.Remove(path)
	}
	return err
}

func (f *Folder) prepare(key []Field, o Options) error {
	steps, err := f.steps()
	if err != nil {
		return err
	}
	resume := len(steps) > 0 && o.Resume
	if len(steps) > 0 && !o.Resume && !o.Discard {
		return fmt.Errorf("%w: go on with prune.Output.Resume, or start anew with prune.Output.Force", ErrSteps)
	}
	if !resume {
		if err := f.empty(); err != nil {
			return err
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	if err := f.write(ownerName, fmt.Appendf(nil, "process %d on %s", os.Getpid(), host)); err != nil {
		return err
	}
	if resume {
		return f.check(key, o)
	}
	return f.writeManifest(key)
}

// check compares the key with that of the run that the steps are of.
func (f *Folder) check(key []Field, o Options) error {
	raw, err := os.ReadFile(filepath.Join(f.dir, manifestName))
	var before manifest
	if err == nil {
		err = json.Unmarshal(raw, &before)
	}
	if err != nil {
		return fmt.Errorf("has a damaged %s: %w; start anew with prune.Output.Force", manifestName, err)
	}
	if before.Format != format {
		return fmt.Errorf("%w: its format is %d, this vkcome's %d; start anew with prune.Output.Force", ErrDifferent, before.Format, format)
	}
	var names []string
	values := [2]map[string]Field{{}, {}}
	for i, fields := range [2][]Field{before.Key, key} {
		for _, v := range fields {
			values[i][v.Name] = v
			if !slices.Contains(names, v.Name) {
				names = append(names, v.Name)
			}
		}
	}
	other := false
	for _, name := range names {
		was, is := values[0][name], values[1][name]
		if was.Value == is.Value {
			continue
		}
		if o.AnyDevice && was.Device && is.Device {
			other = true
			continue
		}
		hint := "start anew with prune.Output.Force"
		if was.Device && is.Device {
			hint = "the result would be neither's; prune.Output.AnyDevice goes on all the same, prune.Output.Force starts anew"
		}
		return fmt.Errorf("%w: %s was %s, is %s; %s", ErrDifferent, cmp.Or(o.Names[name], name), shown(was.Value), shown(is.Value), hint)
	}
	if other { // from now on this is the device
		return f.writeManifest(key)
	}
	return nil
}

func (f *Folder) writeManifest(key []Field) error {
	raw, err := json.MarshalIndent(manifest{format, key}, "", " ")
	if err != nil {
		return err
	}
	return f.write(manifestName, raw)
}

// shown is a value for a message, a hash in short.
func shown(value string) string {
	if value == "" {
		return "not given"
	}
	if len(value) == 2*sha256.Size {
		return value[:12] + "…"
	}
	return value
}

// Close lets go of the folder, which stays if there is a checkpoint in it. Layers that Load made end with it.
func (f *Folder) Close() error {
	if steps, err := f.steps(); err == nil && len(steps) == 0 {
		return f.Remove()
	}
	return errors.Join(f.unmap(), f.lock.Close())
}

// Remove removes the folder: the run's result is where it belongs. Layers that Load made end with it. What somebody else put there
// stays.
func (f *Folder) Remove() error {
	if err := errors.Join(f.unmap(), f.empty()); err != nil {
		return errors.Join(err, f.lock.Close())
	}
	if err := release(f.lock, filepath.Join(f.dir, lockName)); err != nil {
		return fmt.Errorf("work: %s: %w", f.dir, err)
	}
	if err := os.Remove(f.dir); err != nil {
		if left, listErr := os.ReadDir(f.dir); listErr == nil && len(left) == 0 {
			return fmt.Errorf("work: %w", err)
		}
	}
	return nil
}

func (f *Folder) unmap() (err error) {
	for _, c := range f.closers {
		err = errors.Join(err, c.Close())
	}
	f.closers = nil
	return err
}

// empty removes everything but the lock. Checkpoints stop being any at once, so that none is left without its manifest, or damaged.
func (f *Folder) empty() error {
	steps, err := f.steps()
	if err != nil {
		return err
	}
	for _, step := range steps {
		dir := f.stepDir(step)
		if err := errors.Join(removeAll(dir+temporary), files.Rename(dir, dir+temporary)); err != nil {
			return err
		}
	}
	return f.remove(func(name string) bool { return name != lockName })
}

var removeAll = os.RemoveAll // tests stand in for it

// remove removes what this package put there and unwanted says.
func (f *Folder) remove(unwanted func(name string) bool) error {
	entries, err := os.ReadDir(f.dir)
	for _, e := range entries {
		if name := e.Name(); ours(name) && unwanted(name) {
			err = errors.Join(err, removeAll(filepath.Join(f.dir, name)))
		}
	}
	return err
}

// write writes a file of the folder in one step.
func (f *Folder) write(name string, data []byte) error {
	return WriteFile(filepath.Join(f.dir, name), data)
}

// WriteFile writes a file in one step: after a crash there is the file that was there before, or all of the new one.
func WriteFile(path string, data []byte) error {
	if err := writeSync(path+temporary, data); err != nil {
		return err
	}
	if err := files.Rename(path+temporary, path); err != nil {
		return err
	}
	return model.SyncDir(filepath.Dir(path))
}

// writeSync writes a file and brings it to the disk.
func writeSync(path string, data []byte) error {
	out, err := files.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// Sync brings the files of a folder, which has no folders in it, and their names to the disk.
func Sync(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		file, err := files.OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			return err
		}
	}
	return model.SyncDir(dir)
}
