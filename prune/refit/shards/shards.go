// Package shards lets processes, on one machine or on many, share the fit of a model through a folder that all of them see. Each has a part of
// the corpus' windows and leaves the sums of these in the folder, round by round. Part 0 adds them up, solves, and leaves the fitted projection
// there for the others: so all go on with the same bytes, and only sums have to be of one kind of device.
//
// What is in the folder outlives its processes. A part that is started again takes the fits that are there, and leaves what sums are missing.
// Nothing counts before it has its final name, nothing gets that before it is on the disk, and what does not have the key of the fit, the
// expected size and its SHA-256 is an error.
package shards

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/work"
)

// Options say which part of which fit a process does. Messages name those of prune.RefittingOptions, from which they come.
type Options struct {
	Dir    string // the folder: the same for all parts; its parent must exist
	Part   int    // of Parts, from 0 on
	Parts  int
	Key    []work.Field      // all that the result depends on, and how many parts there are
	Names  map[string]string // Go names of options by the names of their fields, for messages
	Wait   time.Duration     // how long a part waits for others at most; 0: without end
	Tokens func(part int) (fitted, held int)

	// Waiting is told at times what a part waits for, and which parts that has to come from.
	Waiting func(what string, missing []int)
	// Saving is told when sums or a fit begin to be written, and when they are; may be nil.
	Saving func(begun bool)
}

// Errors that callers tell apart.
var (
	// ErrGone says that the folder was removed: the fit has ended, or somebody did it.
	ErrGone = errors.New("was removed")
	// ErrLocked says that another process does the same part.
	ErrLocked = errors.New("is in use")
	// ErrForeign says that there is something in the folder that no part of a fit puts there.
	ErrForeign = errors.New("is no folder of a fit in parts")
	// ErrDifferent says that the folder is that of another fit.
	ErrDifferent = errors.New("is that of another fit")
)

// Folder is a part's hold on the folder, from Open to Close. It is the refit.Rounds of a refit.Shard.
type Folder struct {
	o      Options
	key    string // hash of the Key
	unlock func() error
}

// Names of what is in the folder. Numbers are those of parts, of layers of the model, and of the fits of a layer.
const (
	partPattern = "part-%06d.json"
	lockPattern = "part-%06d.lock"
	sumsPattern = "sums-%06d-%d-%06d" // layer, fit, part
	fitPattern  = "fit-%06d-%d"       // layer, fit
	temporary   = ".tmp"              // as work.WriteFile has it
)

// ours says whether a name is one that this package gives, to the letter.
func ours(name string) bool {
	name = strings.TrimSuffix(name, temporary)
	for pattern, n := range map[string]int{partPattern: 1, lockPattern: 1, sumsPattern: 3, fitPattern: 2} {
		if _, ok := work.Numbers(name, pattern, n); ok {
			return true
		}
	}
	return false
}

// partFormat and maxPart are those of the file that says who is there: a key has the names of thousands of files at most.
const (
	partFormat = "vkcome shard 1"
	maxPart    = 16 << 20
)

// present is what such a file holds.
type present struct {
	Part int          `json:"part"`
	Key  []work.Field `json:"key"`
}

// Open takes hold of a part, in a folder that it makes if it is not there. Another process that does the part gives ErrLocked, a folder of
// another fit ErrDifferent, one with anything else in it ErrForeign.
func Open(o Options) (*Folder, error) {
	if o.Saving == nil {
		o.Saving = func(bool) {}
	}
	raw, err := json.Marshal(o.Key)
	if err != nil {
		return nil, fmt.Errorf("shards: %w", err)
	}
	sum := sha256.Sum256(raw)
	f := &Folder{o: o, key: hex.EncodeToString(sum[:])}
	for range 10 {
		if err = f.open(); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		time.Sleep(time.Millisecond) // another part, or another fit, that ended just removed the folder
	}
	if err != nil {
		return nil, fmt.Errorf("shards: %s %w", o.Dir, err)
	}
	return f, nil
}

func (f *Folder) open() (err error) {
	if err := files.Mkdir(f.o.Dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot be made: %w", err)
	}
	if err := f.scan(); err != nil {
		return err
	}
	if err := f.others(); err != nil {
		return err
	}
	switch f.unlock, err = work.Lock(f.path(lockPattern, f.o.Part)); {
	case errors.Is(err, work.ErrLocked):
		return fmt.Errorf("%w: another process does part %d of %d; give each its own number (prune.RefittingOptions.Shard)", ErrLocked, f.o.Part, f.o.Parts)
	case err != nil:
		return fmt.Errorf("cannot be locked: %w", err)
	}
	text, err := work.Seal(partFormat, present{f.o.Part, f.o.Key})
	if err == nil {
		err = work.WriteFile(f.path(partPattern, f.o.Part), text)
	}
	if err == nil {
		err = f.others() // one that came at the same time may not have seen this one
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

func (f *Folder) path(pattern string, n ...any) string {
	return filepath.Join(f.o.Dir, fmt.Sprintf(pattern, n...))
}

// scan refuses a folder that holds what no part puts there.
func (f *Folder) scan() error {
	info, err := os.Lstat(f.o.Dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: it is a link or a file; name another with prune.Output.Work", ErrForeign)
	}
	entries, err := os.ReadDir(f.o.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !ours(e.Name()) || !e.Type().IsRegular() {
			return fmt.Errorf("%w: it holds %s; name another with prune.Output.Work", ErrForeign, e.Name())
		}
	}
	return nil
}

// others refuses parts that are there of another fit.
func (f *Folder) others() error {
	entries, err := os.ReadDir(f.o.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		n, ok := work.Numbers(e.Name(), partPattern, 1)
		if !ok {
			continue
		}
		was, err := readPart(filepath.Join(f.o.Dir, e.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // it just ended
		case err == nil && was.Part != n[0]:
			err = fmt.Errorf("is that of part %d", was.Part)
		}
		if err != nil {
			return fmt.Errorf("cannot be used: %s %w; remove it and start part %d again", e.Name(), err, n[0])
		}
		for _, d := range work.Differences(was.Key, f.o.Key) {
			before, now := d.Values()
			return fmt.Errorf("%w: %s is %s for part %d and %s for part %d; give all parts the same, or remove the folder if no part runs any more", ErrDifferent, d.Name(f.o.Names), before, n[0], now, f.o.Part)
		}
	}
	return nil
}

func readPart(path string) (p present, err error) {
	raw, err := files.Read(path, maxPart)
	if err == nil {
		err = work.Unseal(raw, partFormat, &p)
	}
	return p, err
}

// Close lets go of the part. What it left for others, or for itself, stays.
func (f *Folder) Close() (err error) {
	entries, err := os.ReadDir(f.o.Dir)
	left := slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		n, sums := work.Numbers(e.Name(), sumsPattern, 3)
		_, fit := work.Numbers(e.Name(), fitPattern, 2)
		return sums && n[2] == f.o.Part || fit && f.o.Part == 0
	})
	if err == nil && !left {
		own := f.path(partPattern, f.o.Part)
		err = errors.Join(ignored(os.Remove(own+temporary)), ignored(os.Remove(own)))
	}
	if err = errors.Join(ignored(err), ignored(f.unlock())); err != nil {
		return fmt.Errorf("shards: %w", err)
	}
	_ = os.Remove(f.o.Dir) // which works if nothing is in it
	return nil
}

// ignored is an error unless it says that something is not there: part 0 may have removed the folder.
func ignored(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Remove removes the folder when the result of the fit is where it belongs. A folder of another fit, and what somebody else put there, stay.
func Remove(dir string, key []work.Field) error {
	f := &Folder{o: Options{Dir: dir, Key: key}}
	err := f.others()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("shards: %s %w", dir, err)
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if ours(e.Name()) {
			err = errors.Join(err, ignored(os.Remove(filepath.Join(dir, e.Name()))))
		}
	}
	if err := ignored(err); err != nil {
		return fmt.Errorf("shards: %w", err)
	}
	_ = os.Remove(dir) // which works if nothing is in it
	return nil
}

// Fit is that of refit.Rounds.
func (f *Folder) Fit(ctx context.Context, r refit.Round) (made *model.Layer, record refit.Fit, err error) {
	if made, record, err = f.readFit(ctx, r); errors.Is(err, fs.ErrNotExist) {
		switch _, err = os.Stat(f.o.Dir); {
		case err != nil:
		case f.o.Part == 0:
			made, record, err = f.solve(ctx, r)
		default:
			if err = f.deliver(ctx, r); err == nil {
				made, record, err = f.await(ctx, r)
			}
		}
	}
	if err == nil && f.o.Part == 0 {
		err = f.dropSums(r)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, there := os.Stat(f.o.Dir); errors.Is(there, fs.ErrNotExist) {
			err = fmt.Errorf("%s %w while the fit ran", f.o.Dir, ErrGone)
		}
	}
	if err != nil {
		return nil, r.Fit, fmt.Errorf("shards: %w", err)
	}
	return made, record, nil
}

// solve makes the fit of the own sums and those of all other parts, as they come, and leaves it for these.
func (f *Folder) solve(ctx context.Context, r refit.Round) (*model.Layer, refit.Fit, error) {
	fitted, held, err := r.Sums(ctx)
	if err != nil {
		return nil, r.Fit, err
	}
	var missing []int
	for part := 1; part < f.o.Parts; part++ {
		missing = append(missing, part)
	}
	err = f.wait(ctx, "sums", r, func() ([]int, error) {
		names, err := f.names()
		if err != nil {
			return nil, err
		}
		for _, part := range slices.Clone(missing) {
			if !names[fmt.Sprintf(sumsPattern, r.Fit.Layer, r.Number, part)] {
				continue
			}
			if err := f.mergeSums(ctx, r, part, fitted, held); err != nil {
				return nil, err
			}
			missing = slices.DeleteFunc(missing, func(p int) bool { return p == part })
		}
		return missing, nil
	})
	if err != nil {
		return nil, r.Fit, err
	}
	made, record, err := r.Solve(ctx, fitted, held)
	if err != nil {
		return nil, record, err
	}
	return made, record, f.writeFit(r, made, record)
}

// deliver leaves the own sums, unless that was done before.
func (f *Folder) deliver(ctx context.Context, r refit.Round) error {
	err := f.checkSums(ctx, r)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fitted, held, err := r.Sums(ctx)
	if err != nil {
		return err
	}
	return f.writeSums(r, fitted, held)
}

// await takes the fit when part 0 has made it.
func (f *Folder) await(ctx context.Context, r refit.Round) (made *model.Layer, record refit.Fit, err error) {
	err = f.wait(ctx, "fit", r, func() (missing []int, err error) {
		names, err := f.names()
		if err != nil || names[fmt.Sprintf(fitPattern, r.Fit.Layer, r.Number)] {
			return nil, err
		}
		for part := 1; part < f.o.Parts; part++ {
			if !names[fmt.Sprintf(sumsPattern, r.Fit.Layer, r.Number, part)] {
				missing = append(missing, part)
			}
		}
		if len(missing) == 0 {
			missing = []int{0} // which adds the sums up
		}
		return missing, nil
	})
	if err != nil {
		return nil, r.Fit, err
	}
	return f.readFit(ctx, r)
}

// names are those of the files in the folder.
func (f *Folder) names() (map[string]bool, error) {
	entries, err := os.ReadDir(f.o.Dir)
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names, err
}

// Times between two looks at the folder.
const (
	firstLook = 5 * time.Millisecond
	laterLook = time.Second
)

// wait looks at the folder until no part is missing.
func (f *Folder) wait(ctx context.Context, what string, r refit.Round, look func() (missing []int, err error)) error {
	begin, pause := time.Now(), firstLook
	what = fmt.Sprintf("the %s of layer %d", what, r.Fit.Layer)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		missing, err := look()
		if err != nil || len(missing) == 0 {
			return err
		}
		if f.o.Wait > 0 && time.Since(begin) > f.o.Wait {
			return fmt.Errorf("%s: %s did not come from %s within %v (prune.RefittingOptions.Wait): start what does not run, each part with its own number, the same options and the same OUT", f.o.Dir, what, Parts(missing, f.o.Parts), f.o.Wait)
		}
		if f.o.Waiting != nil {
			f.o.Waiting(what, missing)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, laterLook)
	}
}

// Parts names parts: "part 3 of 8", "parts 1, 2 and 5 of 8".
func Parts(list []int, of int) string {
	text := make([]string, len(list))
	for i, p := range list {
		text[i] = fmt.Sprint(p)
	}
	last := len(text) - 1
	if last == 0 {
		return fmt.Sprintf("part %s of %d", text[0], of)
	}
	return fmt.Sprintf("parts %s and %s of %d", strings.Join(text[:last], ", "), text[last], of)
}

// dropSums removes the sums of a fit that is made.
func (f *Folder) dropSums(r refit.Round) error {
	for part := 1; part < f.o.Parts; part++ {
		if err := ignored(os.Remove(f.path(sumsPattern, r.Fit.Layer, r.Number, part))); err != nil {
			return err
		}
	}
	return nil
}
