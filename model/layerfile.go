package model

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vkcome/vkcome/model/safetensors"
)

// SaveLayer writes a layer's weights into a safetensors file of its own: each part a tensor [rows, cols] under its name in a decoder
// layer, and in the metadata the name of the Weight. The file is on the disk, under its name, only when it is whole; one that is there
// is replaced.
func SaveLayer(path string, l *Layer) (err error) {
	var entries []safetensors.Entry
	names := map[string]string{}
	for i, w := range l.Parts {
		p := Part(i)
		if w.IsZero() {
			continue
		}
		if w.Data == nil {
			return fmt.Errorf("model: save %s: tensor %s is made on the device and has no values to save", path, w.Name)
		}
		entries = append(entries, safetensors.Entry{Name: partName(p), DType: w.DType.String(), Shape: []int{w.Rows, w.Cols}})
		names[partName(p)] = w.Name
	}
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) { // what a crash left
		return fmt.Errorf("model: save layer: %w", err)
	}
	out, err := safetensors.Create(tmp, entries, names)
	if err != nil {
		return err
	}
	for i, w := range l.Parts {
		p := Part(i)
		if !w.IsZero() && err == nil {
			err = w.write(out, partName(p))
		}
	}
	if err = errors.Join(err, out.Close()); err != nil { // it removes what was written
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("model: save layer: %w", errors.Join(err, os.Remove(tmp)))
	}
	return SyncDir(filepath.Dir(path))
}

// partName is a part's name in a layer's file: a Llama's, and an OPT's of what that has not.
func partName(p Part) string { return cmp.Or(llamaNames[p], optNames[p]) }

// SyncDir brings the names in a folder to the disk; Windows does so by itself.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
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
		t, ok := file.Lookup(partName(p))
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

// LayerStore keeps merged layers: in memory, or, where a HostMemory has a bound, in files that are mapped and vanish with the process.
// A nil *LayerStore keeps them in memory.
type LayerStore struct {
	Host  *HostMemory
	files []io.Closer
	dirs  []string // that could not be removed while their files are open
}

// Keep gives back the layer as the store keeps it, good until Close.
func (s *LayerStore) Keep(l *Layer) (*Layer, error) {
	if s == nil || !s.Host.bounded() {
		return l, nil
	}
	dir, err := os.MkdirTemp(s.Host.Dir, "vkcome-layer-*")
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	path := filepath.Join(dir, "layer.safetensors")
	if err := SaveLayer(path, l); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	kept, file, err := LoadLayer(path)
	if removed := os.RemoveAll(dir); removed != nil {
		s.dirs = append(s.dirs, dir)
	}
	if err != nil {
		return nil, err
	}
	s.files = append(s.files, file)
	return kept, nil
}

// Close unmaps the layers.
func (s *LayerStore) Close() (err error) {
	if s == nil {
		return nil
	}
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	for _, dir := range s.dirs {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	s.files, s.dirs = nil, nil
	return err
}
