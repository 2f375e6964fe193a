package model

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vkcome/vkcome/model/safetensors"
)

// SaveLayer writes a layer's weights into a safetensors file of its own: each part a tensor [rows, cols] under its name in a decoder
// layer, and in the metadata the name of the Weight. The file is on the disk, under its name, only when it is whole; one that is there
// is replaced.
func SaveLayer(path string, l *Layer) (err error) {
	var entries []safetensors.Entry
	names := map[string]string{}
	for p, w := range l.Parts {
		if w.IsZero() {
			continue
		}
		if w.Data == nil {
			return fmt.Errorf("model: save %s: tensor %s is made on the device and has no values to save", path, w.Name)
		}
		entries = append(entries, safetensors.Entry{Name: partNames[p], DType: w.DType.String(), Shape: []int{w.Rows, w.Cols}})
		names[partNames[p]] = w.Name
	}
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) { // what a crash left
		return fmt.Errorf("model: save layer: %w", err)
	}
	out, err := safetensors.Create(tmp, entries, names)
	if err != nil {
		return err
	}
	for p, w := range l.Parts {
		if !w.IsZero() && err == nil {
			err = w.write(out, partNames[p])
		}
	}
	if err = errors.Join(err, out.Close()); err != nil { // it removes what was written
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("model: save layer: %w", errors.Join(err, os.Remove(tmp)))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir brings a folder's names to the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("model: sync %s: %w", dir, err)
	}
	return nil
}

// LoadLayer maps a file that SaveLayer wrote. The layer's Data are views into the mapping, gone with the Closer's Close.
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
	for p := range NumParts {
		t, ok := file.Lookup(partNames[p])
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
		l.Parts[p] = Weight{Name: names[t.Name], DType: d, Rows: t.Shape[0], Cols: t.Shape[1], Data: t.Data, file: file}
	}
	if all := file.Names(); found != len(all) || found == 0 {
		return nil, fmt.Errorf("model: %s: %d of its %d tensors are parts of a decoder layer: SaveLayer did not write it", path, found, len(all))
	}
	return l, nil
}
