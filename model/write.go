package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/safetensors"
)

// DefaultShard is the most bytes a file of weights holds, as transformers writes them.
const DefaultShard = 5_000_000_000

// Write writes the model as a Hugging Face folder into dir, which exists and is empty: weights in their own dtypes, streamed tensor
// by tensor; config.json; and every other file of the original folder that holds no weights, unchanged.
func (m *Model) Write(ctx context.Context, dir string, maxShard int) error {
	if err := os.WriteFile(filepath.Join(dir, arch.ConfigFile), m.Config.JSON(), 0o644); err != nil {
		return err
	}
	if err := copyFiles(dir, m.Files); err != nil {
		return err
	}
	var entries []safetensors.Entry
	var parts [][]Weight // of each entry, one behind the other
	add := func(tensors []arch.Tensor, weights []Weight) {
		for _, t := range tensors {
			e := safetensors.Entry{Name: m.stored(t.Name), Shape: t.Shape, DType: weights[t.Roles[0]].DType.String()}
			var list []Weight
			for _, r := range t.Roles {
				list = append(list, weights[r])
			}
			entries, parts = append(entries, e), append(parts, list)
		}
	}
	add(m.Config.TopTensors(), m.Top[:])
	for l := range m.Layers {
		add(m.Config.LayerTensors(l), m.Layers[l].Weights[:])
	}
	w, err := safetensors.CreateSharded(dir, entries, maxShard)
	if err != nil {
		return err
	}
	for i, e := range entries {
		if err := errors.Join(ctx.Err(), write(w, e.Name, parts[i]...)); err != nil {
			w.Close() // it removes what was written, and has no other error to tell
			return err
		}
	}
	return w.Close()
}

// write writes the rows of weights, one behind the other, as the tensor that comes next.
func write(out *safetensors.Writer, name string, parts ...Weight) error {
	t, err := out.Tensor(name)
	if err != nil {
		return err
	}
	for _, w := range parts {
		err := w.Pieces(func(_ int64, data []byte) error {
			_, err := t.Write(data)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// weightFiles are the endings of files that hold a model's weights, in this or another format: they are not a pruned model's.
var weightFiles = []string{".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".ot"}

// Lineage is the file in which a pruned model keeps where its layers come from.
const Lineage = "vkcome.json"

// Losses is the file in which a healed model keeps the losses of its training, a line of JSON for each step.
const Losses = "vkcome-losses.jsonl"

// copyFiles copies the regular files at the top of a model's folder that hold neither weights nor what is written anew.
func copyFiles(dir string, files fs.FS) error {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		isWeights := slices.ContainsFunc(weightFiles, func(end string) bool { return strings.HasSuffix(name, end) })
		if isWeights || name == arch.ConfigFile || name == Lineage || name == Losses || strings.HasPrefix(name, ".") {
			continue
		}
		if info, err := fs.Stat(files, name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if err := copyFile(filepath.Join(dir, name), files, name); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(path string, files fs.FS, name string) (err error) {
	in, err := files.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
