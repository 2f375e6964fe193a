package model

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/safetensors"
)

// SaveLayer writes a layer's weights into a safetensors file of its own: each weight a tensor [rows, cols] under the name of its slot, and in the metadata the name of the Weight. The file is on the disk, under its name, only when it is whole; one that is there
// is replaced.
func SaveLayer(path string, l *Layer) (err error) {
	var entries []safetensors.Entry
	names := map[string]string{}
	for i, w := range l.Weights {
		r := arch.Role(i)
		if w.IsZero() {
			continue
		}
		if w.Made() {
			return fmt.Errorf("model: save %s: tensor %s is made on the device and has no values to save", path, w.Name)
		}
		entries = append(entries, safetensors.Entry{Name: slot(r), DType: w.DType.String(), Shape: []int{w.Rows, w.Cols}})
		names[slot(r)] = w.Name
	}
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) { // what a crash left
		return fmt.Errorf("model: save layer: %w", err)
	}
	out, err := safetensors.Create(tmp, entries, names)
	if err != nil {
		return err
	}
	for i, w := range l.Weights {
		r := arch.Role(i)
		if !w.IsZero() && err == nil {
			err = write(out, slot(r), w)
		}
	}
	if err != nil {
		out.Abort()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := files.Rename(tmp, path); err != nil {
		return fmt.Errorf("model: save layer: %w", errors.Join(err, os.Remove(tmp)))
	}
	return SyncDir(filepath.Dir(path))
}

// slot is a role's name in such a file: its own, with a number behind it where a role before it has the same.
func slot(r arch.Role) string {
	name, same := r.Info().Name, 0
	for other := range r {
		if other.Info().Name == name {
			same++
		}
	}
	if same > 0 {
		name = fmt.Sprintf("%s.%d", name, same)
	}
	return name
}

// SyncDir brings the names in a folder to the disk; Windows does so by itself.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := files.OpenFile(dir, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("model: sync %s: %w", dir, err)
	}
	return nil
}

// LoadLayer opens a file that SaveLayer wrote. The layer's weights are read from it, until the Closer's Close.
func LoadLayer(path string) (*Layer, io.Closer, error) {
	file, err := safetensors.OpenFile(path)
	if err != nil {
		return nil, nil, err
	}
	l, err := layerOf(file, path)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return l, file, nil
}

func layerOf(file *safetensors.Checkpoint, path string) (*Layer, error) {
	l, names, found := &Layer{}, file.Metadata(), 0
	for r := range arch.LayerRoles {
		t, ok := file.Lookup(slot(r))
		if !ok {
			continue
		}
		found++
		d, err := t.Float()
		if err != nil {
			return nil, err
		}
		if len(t.Shape) != 2 || t.Shape[0] == 0 {
			return nil, fmt.Errorf("model: %s: tensor %s: shape %v, expected [rows cols]", path, t.Name, t.Shape)
		}
		l.Weights[r] = Weight{Name: names[t.Name], DType: d, Rows: t.Shape[0], Cols: t.Shape[1], source: plain{d.Size(), t.Read}}
	}
	if all := file.Names(); found != len(all) || found == 0 {
		return nil, fmt.Errorf("model: %s: %d of its %d tensors are parts of a decoder layer: SaveLayer did not write it", path, found, len(all))
	}
	return l, nil
}
