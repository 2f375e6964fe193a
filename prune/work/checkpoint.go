package work

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/files"
)

// Checkpoint is a run after some of its steps: all that it needs to go on.
type Checkpoint struct {
	Step   int             // how many steps are done, 1 or more
	Model  *model.Model    // of layers of the original, and others
	Run    json.RawMessage // the caller's: records of the steps, what the next one needs to know
	Scorer []byte          // what the scorer knows

	// State is more that may be large: Save has it write, and does without where it is nil; Load opens what was written, nil if nothing was.
	// It is there until the next Save.
	State func(io.Writer) error
	Open  func() (io.ReadCloser, error)
}

// Files of a checkpoint's folder. sumsName lists the SHA-256 of the others and of the layers' files, as sha256sum does: one that is
// cut short lacks a file.
const (
	layersName = "layers.json"
	configName = "config.json"
	runName    = "run.json"
	scorerName = "scorer"
	stateName  = "state"
	sumsName   = "SHA256SUMS"
)

// stepFiles are all of them.
var stepFiles = []string{layersName, configName, runName, scorerName, stateName, sumsName}

// Limits of what is read of a checkpoint. The scorer's part and the state are as large as the corpus and the model make them.
const (
	maxLayerRefs = 1 << 20   // bytes: 16,384 layers, the most that a config may have
	maxRun       = 256 << 20 // bytes: the steps of a model of 400B parameters have some 30 MB
	maxSums      = 4 << 20   // bytes: a line of some 100 for each layer and file
)

// layerRef says where a layer of a checkpoint's model is.
type layerRef struct {
	Original int    `json:"original"`
	File     string `json:"file,omitempty"` // instead
}

// Save makes a checkpoint that takes the place of the one before. The layers of its model must not change any more.
func (f *Folder) Save(c Checkpoint) error {
	err := f.save(c)
	if err == nil {
		err = f.tidy(c)
	}
	if err != nil {
		return fmt.Errorf("work: %s: checkpoint of step %d: %w", f.dir, c.Step, err)
	}
	return nil
}

func (f *Folder) save(c Checkpoint) error {
	var refs []layerRef
	var sums bytes.Buffer
	for i, l := range c.Model.Layers {
		if k := slices.Index(f.original.Layers, l); k >= 0 {
			refs = append(refs, layerRef{Original: k})
			continue
		}
		made, ok := f.made[l]
		if !ok {
			made.name = fmt.Sprintf(layerPattern, c.Step, i)
			path := filepath.Join(f.dir, made.name)
			var err error
			if err = model.SaveLayer(path, l); err != nil {
				return err
			}
			if made.sum, err = hashFile(path); err != nil {
				return err
			}
			f.made[l] = made
		}
		refs = append(refs, layerRef{File: made.name})
		fmt.Fprintf(&sums, "%s  ../%s\n", made.sum, made.name)
	}
	layers, err := json.Marshal(refs)
	if err != nil {
		return err
	}
	dir := f.stepDir(c.Step)
	if err := errors.Join(removeAll(dir+temporary), files.Mkdir(dir+temporary, 0o755)); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		data []byte
	}{{layersName, layers}, {configName, c.Model.Config.JSON()}, {runName, c.Run}, {scorerName, c.Scorer}} {
		if err := files.WriteFile(filepath.Join(dir+temporary, part.name), part.data, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(part.data), part.name)
	}
	if c.State != nil {
		sum, err := writeHashed(filepath.Join(dir+temporary, stateName), c.State)
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, stateName)
	}
	if err := files.WriteFile(filepath.Join(dir+temporary, sumsName), sums.Bytes(), 0o644); err != nil {
		return err
	}
	if err := Sync(dir + temporary); err != nil {
		return err
	}
	if err := files.Rename(dir+temporary, dir); err != nil {
		return err
	}
	return model.SyncDir(f.dir)
}

// writeHashed makes a file of what write writes, and gives its SHA-256.
func writeHashed(path string, write func(io.Writer) error) (sum string, err error) {
	out, err := files.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	err = write(io.MultiWriter(out, h))
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, out.Close())
}

// tidy removes checkpoints older than c and the layers that only they have.
func (f *Folder) tidy(c Checkpoint) error {
	keep := map[string]bool{fmt.Sprintf(stepPattern, c.Step): true, lockName: true, ownerName: true, manifestName: true}
	for l, made := range f.made {
		if slices.Contains(c.Model.Layers, l) {
			keep[made.name] = true
		} else {
			delete(f.made, l)
		}
	}
	return f.remove(func(name string) bool { return !keep[name] && !f.reading[name] })
}

// stepDir is where the checkpoint of a step is.
func (f *Folder) stepDir(step int) string {
	return filepath.Join(f.dir, fmt.Sprintf(stepPattern, step))
}

// steps lists the checkpoints in the folder, the oldest first.
func (f *Folder) steps() (list []int, err error) {
	entries, err := files.ReadDir(f.dir) // by name
	for _, e := range entries {
		if step, ok := Numbers(e.Name(), stepPattern, 1); ok {
			list = append(list, step[0])
		}
	}
	return list, err
}

// Load reads the newest checkpoint that is whole, nil if there is none. Each that is damaged is removed, and damaged tells of it in a
// line. The model is valid until the folder is closed or removed.
func (f *Folder) Load() (c *Checkpoint, damaged []string, err error) {
	steps, err := f.steps()
	if err != nil {
		return nil, nil, fmt.Errorf("work: %w", err)
	}
	for _, step := range slices.Backward(steps) {
		dir := f.stepDir(step)
		c, err := f.load(dir)
		if err == nil {
			c.Step = step
			return c, damaged, nil
		}
		var why damage
		if !errors.As(err, &why) {
			return nil, damaged, fmt.Errorf("work: %s: %w", dir, err)
		}
		if err := removeAll(dir); err != nil {
			return nil, damaged, fmt.Errorf("work: %w", err)
		}
		damaged = append(damaged, fmt.Sprintf("work: %s: the checkpoint is damaged and left out: %s", dir, string(why)))
	}
	return nil, damaged, nil
}

// damage says in what a checkpoint is not whole.
type damage string

func (d damage) Error() string { return string(d) }

func (f *Folder) load(dir string) (*Checkpoint, error) {
	sums, err := readSums(dir)
	if err != nil {
		return nil, err
	}
	parts := map[string][]byte{}
	for _, part := range []struct {
		name string
		most int64
	}{{layersName, maxLayerRefs}, {configName, arch.MaxConfig}, {runName, maxRun}, {scorerName, 0}} {
		data, err := files.Read(filepath.Join(dir, part.name), part.most)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, damage(part.name + " is missing")
		}
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != sums[part.name] {
			return nil, damage(part.name + " is not as it was written")
		}
		parts[part.name] = data
	}
	c := &Checkpoint{Run: parts[runName], Scorer: parts[scorerName]}
	if _, err := os.Lstat(filepath.Join(dir, stateName)); err == nil && sums[stateName] == "" {
		return nil, damage(stateName + " is not listed in " + sumsName)
	}
	if want, ok := sums[stateName]; ok {
		path := filepath.Join(dir, stateName)
		sum, err := hashFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, damage(stateName + " is missing")
		case err != nil:
			return nil, err
		case sum != want:
			return nil, damage(stateName + " is not as it was written")
		}
		c.Open = func() (io.ReadCloser, error) { return files.Open(path, 0) }
	}
	var refs []layerRef
	if err := json.Unmarshal(parts[layersName], &refs); err != nil {
		return nil, fmt.Errorf("%s: %w", layersName, err)
	}
	if err := f.checkRefs(refs, sums); err != nil {
		return nil, err
	}
	m := *f.original
	m.Layers = nil
	if m.Config, err = arch.ParseConfig(f.original.Name, parts[configName]); err != nil {
		return nil, err
	}
	for _, r := range refs {
		if r.File == "" {
			m.Layers = append(m.Layers, f.original.Layers[r.Original])
			continue
		}
		path, made := filepath.Join(f.dir, r.File), file{r.File, sums["../"+r.File]}
		sum, err := hashFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, damage(r.File + " is missing")
		case err != nil:
			return nil, err
		case sum != made.sum:
			return nil, damage(r.File + " is not as it was written")
		}
		l, opened, err := model.LoadLayer(path)
		if err != nil {
			return nil, err
		}
		f.closers, f.reading[r.File], f.made[l] = append(f.closers, opened), true, made
		m.Layers = append(m.Layers, l)
	}
	if err := f.checkModel(&m); err != nil {
		return nil, err
	}
	c.Model = &m
	return c, nil
}

// checkRefs refuses layers that are not the original's, in its order, or files of the folder, each listed in the sums and no others there.
func (f *Folder) checkRefs(refs []layerRef, sums map[string]string) error {
	last, named := -1, map[string]bool{}
	for i, r := range refs {
		if r.File == "" {
			if r.Original <= last || r.Original >= len(f.original.Layers) {
				return fmt.Errorf("%s: layer %d is layer %d of the original: expected more than %d and less than %d", layersName, i, r.Original, last, len(f.original.Layers))
			}
			last = r.Original
			continue
		}
		if _, ok := Numbers(r.File, layerPattern, 2); !ok || named[r.File] {
			return fmt.Errorf("%s: layer %d is in the file %.80q: expected a name as "+layerPattern+", each once", layersName, i, r.File, 1, 2)
		}
		named[r.File] = true
	}
	for name := range sums {
		if file, ok := strings.CutPrefix(name, "../"); ok && !named[file] {
			return damage(name + " is listed in " + sumsName + " and is no layer")
		}
	}
	return nil
}

// checkModel refuses a model that no step can have made of the original: it differs in more than how many layers it has.
func (f *Folder) checkModel(m *model.Model) error {
	if n := len(m.Layers); n == 0 || n != m.Config.Layers || n > len(f.original.Layers) {
		return fmt.Errorf("%s: %d layers, %s says %d, the original has %d", layersName, n, configName, m.Config.Layers, len(f.original.Layers))
	}
	if !sameButDepth(m.Config, f.original.Config) {
		return fmt.Errorf("%s: it differs from the original's in more than its layers", configName)
	}
	for i, l := range m.Layers {
		if k := slices.Index(f.original.Layers, l); k >= 0 && (arch.AttentionOf(m.Config, i) != arch.AttentionOf(f.original.Config, k) || m.Config.Sparse(i) != f.original.Config.Sparse(k)) {
			return fmt.Errorf("%s: layer %d is layer %d of the original, and computes otherwise", configName, i, k)
		}
		for r := range arch.LayerRoles {
			rows, cols := 0, 0
			if m.Config.HasIn(i, r) {
				rows, cols = m.Config.Shape(r)
			}
			if w := l.Weights[r]; w.IsZero() != (rows == 0) || !w.IsZero() && (w.Rows != rows || w.Cols != cols) {
				return fmt.Errorf("layer %d: %s: shape [%d %d], the config says [%d %d]", i, r.Info().Name, w.Rows, w.Cols, rows, cols)
			}
		}
	}
	return nil
}

// sameButDepth compares configs in all but how many layers there are, and lists by layer.
func sameButDepth(a, b *arch.Config) bool {
	var sides [2]arch.Config
	for i, c := range []*arch.Config{a, b} {
		sides[i] = *c
		s := &sides[i]
		s.Layers, s.MaxWindowLayers, s.LayerTypes, s.NoRope, s.Dense, s.DType = 0, 0, nil, nil, nil, 0
	}
	x, y := reflect.ValueOf(sides[0]), reflect.ValueOf(sides[1])
	for _, field := range reflect.VisibleFields(x.Type()) {
		if field.IsExported() && !reflect.DeepEqual(x.FieldByIndex(field.Index).Interface(), y.FieldByIndex(field.Index).Interface()) {
			return false
		}
	}
	return true
}

// readSums reads the SHA-256 of each file of a checkpoint: lines as sha256sum writes them, for files that there are, each once.
func readSums(dir string) (map[string]string, error) {
	raw, err := files.Read(filepath.Join(dir, sumsName), maxSums)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damage(sumsName + " is missing")
	}
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		line, whole := strings.CutSuffix(line, "\n")
		sum, name, ok := strings.Cut(line, "  ")
		file, layer := strings.CutPrefix(name, "../")
		if layer {
			_, layer = Numbers(file, layerPattern, 2)
		}
		if _, twice := sums[name]; !ok || !whole || twice || !isSum(sum) || !layer && (name == sumsName || !slices.Contains(stepFiles, name)) {
			return nil, damage(fmt.Sprintf("%s has a line %.100q", sumsName, line))
		}
		sums[name] = sum
	}
	return sums, nil
}

// hashFile is the SHA-256 of a file in hexadecimal.
func hashFile(path string) (string, error) {
	in, err := files.Open(path, 0)
	if err != nil {
		return "", err
	}
	defer in.Close()
	_, sum, err := sumOf(context.Background(), in)
	return sum, err
}
