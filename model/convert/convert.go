package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/gguf"
)

// IsGGUF says whether a path names a GGUF file rather than a folder.
func IsGGUF(path string) bool { return strings.EqualFold(filepath.Ext(path), ".gguf") }

// To writes a model as out, which does not exist: as a GGUF file where it ends in .gguf, else as a Hugging Face folder, whose weights have
// the dtypes that the model has. It is written under another name first.
func To(ctx context.Context, m *model.Model, out string, o Options) (r *Result, err error) {
	out = filepath.Clean(out)
	if _, err := os.Lstat(out); err == nil {
		return nil, fmt.Errorf("convert: %s exists already, and nothing is written over", out)
	}
	if err := m.CheckFiles(); err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	tmp, err := files.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+".tmp-")
	if err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	made := filepath.Join(tmp, filepath.Base(out))
	if IsGGUF(out) {
		r, err = GGUF(ctx, m, made, o)
	} else {
		r, err = folder(ctx, m, made)
	}
	if err != nil {
		return nil, err
	}
	r.Path = out
	if _, err := os.Lstat(out); err == nil {
		return nil, fmt.Errorf("convert: %s came into being meanwhile, and nothing is written over", out)
	}
	if err := files.Rename(made, out); err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	if err := model.SyncDir(filepath.Dir(out)); err != nil {
		return nil, fmt.Errorf("convert: %w", errors.Join(err, os.RemoveAll(out)))
	}
	return r, nil
}

// folder writes a Hugging Face folder.
func folder(ctx context.Context, m *model.Model, dir string) (*Result, error) {
	if err := files.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	if err := m.Write(ctx, dir, model.DefaultShard); err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	for _, name := range []string{model.Lineage, model.Losses} { // which Write leaves to what made the model
		if err := files.Copy(ctx, filepath.Join(dir, name), m.Files, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("convert: %w", err)
		}
	}
	r := &Result{Tensors: len(m.Config.TopTensors())}
	for l := range m.Layers {
		r.Tensors += len(m.Config.LayerTensors(l))
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		r.Bytes += info.Size()
	}
	return r, nil
}

// TypeFor is the type for an output: the one named, or if name is empty the model's own. A folder has none.
func TypeFor(m *model.Model, out, name string) (gguf.Type, error) {
	switch {
	case !IsGGUF(out) && name != "":
		return 0, fmt.Errorf("convert: %s: a type is chosen for a .gguf file; a folder has the model's own", out)
	case name == "":
		return TypeOf(m), nil
	}
	return ParseType(name)
}
