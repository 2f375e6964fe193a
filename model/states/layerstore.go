package states

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
)

// LayerStore keeps merged layers: in memory, or, where a HostMemory has a bound, in files that are read when they are asked for and vanish with the process.
// A nil *LayerStore keeps them in memory.
type LayerStore struct {
	Host  *HostMemory
	files []io.Closer
	dirs  []string // that could not be removed while their files are open
}

// Keep gives back the layer as the store keeps it, good until Close.
func (s *LayerStore) Keep(l *model.Layer) (*model.Layer, error) {
	if s == nil || !s.Host.Bounded() {
		return l, nil
	}
	dir, err := files.MkdirTemp(s.Host.Dir, "vkcome-layer-*")
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	path := filepath.Join(dir, "layer.safetensors")
	if err := model.SaveLayer(path, l); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	kept, file, err := model.LoadLayer(path)
	if removed := os.RemoveAll(dir); removed != nil {
		s.dirs = append(s.dirs, dir)
	}
	if err != nil {
		return nil, err
	}
	kept.CopyOf(l)
	s.files = append(s.files, file)
	return kept, nil
}

// Close closes the layers' files.
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
