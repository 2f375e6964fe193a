// Package work keeps what a long run has done in a folder, so that the run goes on after a crash, a kill or a lost device.
//
// The folder holds a lock, a manifest with what the run's result depends on, the newest checkpoint, and the layers of its model that
// are not the original's. Nothing counts before it has its final name, and nothing gets that before it is on the disk.
package work

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

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

// manifestFormat has the version of what a work folder holds.
const manifestFormat = "vkcome work 2"

// manifestBefore is how the manifest of format 1 begins, which had no checksum.
const manifestBefore = "{\n \"format\": 1,\n \"key\":"

// maxManifest bounds a manifest: one of all options, with the names of thousands of files, has some 100 kB.
const maxManifest = 16 << 20

// maxOwner bounds the name of a process, which has some 50 bytes.
const maxOwner = 4 << 10

type manifest struct {
	Key []Field `json:"key"`
}

// Folder is a work folder whose lock this process holds. One goroutine uses it at a time.
type Folder struct {
	dir      string
	lock     *flock.Flock
	original *model.Model
	made     map[*model.Layer]file // the layers that are in files of the folder
	closers  []io.Closer           // of the files of layers that are read
	reading  map[string]bool       // their names
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

// ours says whether a name is one that this package gives, to the letter, and whether it gives it to a folder.
func ours(name string) (is, folder bool) {
	if name == lockName {
		return true, false
	}
	name = strings.TrimSuffix(name, temporary)
	if _, ok := Numbers(name, stepPattern, 1); ok {
		return true, true
	}
	_, layer := Numbers(name, layerPattern, 2)
	return layer || name == ownerName || name == manifestName, false
}

// Numbers are the n numbers in a name of a pattern of package fmt, which are not negative; ok says that the name is of it, to the letter.
func Numbers(name, pattern string, n int) (list []int, ok bool) {
	list = make([]int, n)
	var to, from []any
	for i := range list {
		to = append(to, &list[i])
	}
	if _, err := fmt.Sscanf(name, pattern, to...); err != nil {
		return nil, false
	}
	for _, v := range list {
		if v < 0 {
			return nil, false
		}
		from = append(from, v)
	}
	return list, fmt.Sprintf(pattern, from...) == name
}

// scan refuses a folder that is not vkcome's alone: its manifest is there, and nothing but what this package puts beside it. Without a
// manifest, what has no contents may be there: it is what is left of a run that ended before its first write, and nothing is lost with it.
func (f *Folder) scan() error {
	info, err := os.Lstat(f.dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: it is a link or a file; name a folder with prune.Output.Work", ErrForeign)
	}
	raw, err := files.Read(filepath.Join(f.dir, manifestName), maxManifest)
	marked := err == nil && isManifest(raw)
	entries, err := files.ReadDir(f.dir)
	if err != nil {
		return err
	}
	var foreign []string
	for _, e := range entries {
		name, err := f.foreign(e.Name(), marked)
		if err != nil {
			return err
		}
		if name != "" {
			foreign = append(foreign, name)
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	more, none := "", ""
	if len(foreign) > 1 {
		more = fmt.Sprintf(" and %d more", len(foreign)-1)
	}
	if !marked {
		none = ", and no " + manifestName + " that says whose it is"
	}
	return fmt.Errorf("%w: it holds %s%s%s; name another with prune.Output.Work", ErrForeign, foreign[0], more, none)
}

// isManifest says whether a text is a manifest, of this format or the one before, or what is left of one.
func isManifest(raw []byte) bool {
	const enough = 17 // bytes, of `{"format":"vkcome work 2"`
	return len(raw) >= enough && (Sealed(raw, manifestFormat) || bytes.HasPrefix(raw, []byte(manifestBefore)))
}

// foreign names what is not this package's of an entry of the folder, empty if there is nothing.
func (f *Folder) foreign(name string, marked bool) (string, error) {
	path := filepath.Join(f.dir, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // another run is just removing it
	}
	if err != nil {
		return "", err
	}
	is, folder := ours(name)
	switch {
	case !is || !info.IsDir() && !info.Mode().IsRegular():
		return name, nil
	case info.IsDir():
		inner, err := files.ReadDir(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		for _, e := range inner {
			info, err := e.Info()
			if err == nil && (!folder || !slices.Contains(stepFiles, e.Name()) || !info.Mode().IsRegular() || !marked && info.Size() > 0) {
				return filepath.Join(name, e.Name()), nil
			}
		}
		return "", nil
	case info.Size() == 0, marked && !folder && name != lockName, name == manifestName+temporary && torn(path, manifestFormat):
		return "", nil
	}
	return name, nil
}

// Open makes dir a work folder for a run on original, or takes hold of the one that is there, until Close or Remove. Its parent must
// exist. key is all that the run's result depends on.
//
// Another process that has it open gives ErrLocked; steps of an earlier run ErrSteps, unless they are to be resumed or discarded, and
// ErrDifferent if they are to be resumed and a field of the key differs.
func Open(dir string, original *model.Model, key []Field, o Options) (*Folder, error) {
	f := &Folder{dir: dir, original: original, made: map[*model.Layer]file{}, reading: map[string]bool{}}
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
		err := f.scan()
		for range 10 { // a run that just begins, or ends, may have shown a half of what it makes or removes
			if !errors.Is(err, ErrForeign) {
				break
			}
			time.Sleep(200 * time.Microsecond)
			err = f.scan()
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // a run that has ended just removed it
		case errors.Is(err, ErrForeign):
			return err
		case err != nil:
			return fmt.Errorf("cannot be read: %w", err)
		}
		f.lock, err = take(filepath.Join(f.dir, lockName))
		switch {
		case errors.Is(err, fs.ErrNotExist): // its folder was removed meanwhile
			continue
		case err != nil:
			return fmt.Errorf("cannot be locked: %w", err)
		case f.lock == nil:
			owner, err := files.Read(filepath.Join(f.dir, ownerName), maxOwner)
			if err != nil {
				owner = []byte("another process") // which has not told its name yet
			}
			return fmt.Errorf("%w by %.200s: one run at a time", ErrLocked, owner)
		}
		return nil
	}
}

// take locks the file that has the name when it returns, nil if another process has. A lock is an empty file: anything else of the name is
// somebody's.
func take(path string) (*flock.Flock, error) {
	for {
		if info, err := os.Lstat(path); err == nil && (!info.Mode().IsRegular() || info.Size() > 0) {
			return nil, &Foreign{Dir: filepath.Dir(path), Name: filepath.Base(path), Why: "is no lock of vkcome"}
		}
		lock := flock.New(path, flock.SetPermissions(0o644))
		if held, err := lock.TryLock(); err != nil || !held {
			if files.InUse(err) { // whoever had it is removing it
				err = nil
			}
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
		if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) || files.InUse(err) { // it is another's by now
			return nil
		}
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
		if err := f.writeManifest(key); err != nil { // before anything else: by it the folder is known
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
	return nil
}

// check compares the key with that of the run that the steps are of.
func (f *Folder) check(key []Field, o Options) error {
	raw, err := files.Read(filepath.Join(f.dir, manifestName), maxManifest)
	var before manifest
	if err == nil {
		if bytes.HasPrefix(raw, []byte(manifestBefore)) {
			return fmt.Errorf("%w: an earlier vkcome's, which had no checksums; start anew with prune.Output.Force", ErrDifferent)
		}
		err = Unseal(raw, manifestFormat, &before)
	}
	if err != nil {
		return fmt.Errorf("has a damaged %s: it %w; start anew with prune.Output.Force", manifestName, err)
	}
	other := false
	for _, d := range Differences(before.Key, key) {
		device := d.Was.Device && d.Is.Device
		if o.AnyDevice && device {
			other = true
			continue
		}
		hint := "start anew with prune.Output.Force"
		if device {
			hint = "the result would be neither's; prune.Output.AnyDevice goes on all the same, prune.Output.Force starts anew"
		}
		was, is := d.Values()
		return fmt.Errorf("%w: %s was %s, is %s; %s", ErrDifferent, d.Name(o.Names), was, is, hint)
	}
	if other { // from now on this is the device
		return f.writeManifest(key)
	}
	return nil
}

// Difference is a field that two keys have with different values, or that one of them lacks, which then has the zero Field.
type Difference struct{ Was, Is Field }

// Differences compares two keys.
func Differences(was, is []Field) (list []Difference) {
	var names []string
	values := [2]map[string]Field{{}, {}}
	for i, fields := range [2][]Field{was, is} {
		for _, v := range fields {
			values[i][v.Name] = v
			if !slices.Contains(names, v.Name) {
				names = append(names, v.Name)
			}
		}
	}
	for _, name := range names {
		if d := (Difference{values[0][name], values[1][name]}); d.Was.Value != d.Is.Value {
			list = append(list, d)
		}
	}
	return list
}

// Name is the field's, or the Go name of the option that options has for it.
func (d Difference) Name(options map[string]string) string {
	name := cmp.Or(d.Was.Name, d.Is.Name)
	return cmp.Or(options[name], name)
}

// Values are the two for a message, hashes in short.
func (d Difference) Values() (was, is string) { return shown(d.Was.Value), shown(d.Is.Value) }

func (f *Folder) writeManifest(key []Field) error {
	raw, err := Seal(manifestFormat, manifest{key})
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
	return errors.Join(f.closeLayers(), f.lock.Close())
}

// Remove removes the folder: the run's result is where it belongs. Layers that Load made end with it. What somebody else put there
// stays.
func (f *Folder) Remove() error {
	err := errors.Join(f.closeLayers(), f.empty())
	if err == nil { // last: until then the folder is known
		err = removeAll(filepath.Join(f.dir, manifestName))
	}
	if err != nil {
		return errors.Join(err, f.lock.Close())
	}
	if err := release(f.lock, filepath.Join(f.dir, lockName)); err != nil {
		return fmt.Errorf("work: %s: %w", f.dir, err)
	}
	err = files.Remove(f.dir)
	// It may hold what is somebody's, as the lock of another run, which may also have removed it, or be about to take it.
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) || files.InUse(err) {
		return nil
	}
	if err != nil {
		err = fmt.Errorf("work: %w", err)
	}
	return err
}

func (f *Folder) closeLayers() (err error) {
	for _, c := range f.closers {
		err = errors.Join(err, c.Close())
	}
	f.closers = nil
	return err
}

// empty removes everything but the lock and the manifest. Checkpoints stop being any at once, so that none is left without its manifest, or damaged.
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
	return f.remove(func(name string) bool { return name != lockName && name != manifestName })
}

var removeAll = removeOurs // tests stand in for it

// removeOurs removes a file, or a folder of a checkpoint with the files that are written there and no others.
func removeOurs(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !info.IsDir() {
		return errors.Join(err, files.Remove(path))
	}
	for _, name := range stepFiles {
		if err := files.Remove(filepath.Join(path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if left, err := files.ReadDir(path); err == nil && len(left) > 0 {
		return &Foreign{Dir: path, Name: left[0].Name(), Why: "is no part of a checkpoint", More: len(left) - 1}
	}
	return files.Remove(path)
}

// remove removes what this package put there and unwanted says.
func (f *Folder) remove(unwanted func(name string) bool) error {
	entries, err := files.ReadDir(f.dir)
	for _, e := range entries {
		name := e.Name()
		if is, _ := ours(name); is && unwanted(name) {
			err = errors.Join(err, removeAll(filepath.Join(f.dir, name)))
		}
	}
	return err
}

// write writes a file of the folder in one step.
func (f *Folder) write(name string, data []byte) error {
	return WriteFile(filepath.Join(f.dir, name), data)
}

// WriteFile writes a file in one step: after a crash there is the file that was there before, or all of the new one. One that fails leaves nothing.
func WriteFile(path string, data []byte) error {
	err := writeSync(path+temporary, data)
	if err == nil {
		err = files.Rename(path+temporary, path)
	}
	if err != nil {
		if removed := files.Remove(path + temporary); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
		return err
	}
	return model.SyncDir(filepath.Dir(path))
}

// writeSync writes a file and brings it to the disk.
func writeSync(path string, data []byte) error {
	if err := files.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // what a crash left
		return err
	}
	out, err := files.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) // never what a link leads to
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// Sync brings the files of a folder, but for those in its folders, and their names to the disk.
func Sync(dir string) error {
	entries, err := files.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
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
