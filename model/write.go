package model

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/safetensors"
)

// DefaultShard is the most bytes a file of weights holds, as transformers writes them.
const DefaultShard = 5_000_000_000

// Write writes the model as a Hugging Face folder into dir, which exists and is empty: weights in their own dtypes, streamed tensor
// by tensor; config.json; and every other file of the original folder that holds no weights, unchanged, but for those at its top that are named
// without, in capitals or not, which the caller writes anew. It fails where CheckFiles does, and where a file of the model changed since it was opened; of the
// weights nothing is left then.
func (m *Model) Write(ctx context.Context, dir string, maxShard int, without ...string) error {
	if err := files.WriteFile(filepath.Join(dir, arch.ConfigFile), m.Config.JSON(), 0o644); err != nil {
		return err
	}
	if err := m.copyFiles(ctx, dir, without); err != nil {
		return err
	}
	var entries []safetensors.Entry
	var parts [][]Weight // of each entry, one behind the other
	add := func(tensors []arch.Tensor, weights []Weight) {
		for _, t := range tensors {
			e := safetensors.Entry{Name: m.stored(t.Name), Shape: t.Shape, DType: weights[t.Roles[0]].DType.String()}
			var list []Weight
			for _, r := range t.Roles {
				rows := weights[r].Rows / t.Parts
				list = append(list, weights[r].RowRange(t.Part*rows, (t.Part+1)*rows))
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
	if err := m.Unchanged(); err != nil {
		w.Abort()
		return err
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

// leftOut are patterns of files, in lower case, that a pruned model does not take from its original: weights, in this or another format, and
// what says how many layers they have in a form that is not corrected.
var leftOut = []string{
	"*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.ggml", "*.h5", "*.msgpack", "*.msgpack.index.json", "*.onnx",
	"*.onnx_data", "*.onnx.data", "*.ot", "*.npz", "*.tflite", "*.nemo", "*.pdparams", "*.llamafile", "*.imatrix", "imatrix*.dat",
	"params.json",                                                                      // of Mistral's and Meta's own formats
	"quantize_config.json", "quant_config.json", "hf_quant_config.json", adapterConfig, // of weights that are not there
	"model_index.json", "config.*.json", // configurations for other programs or versions
}

// adapterConfig is the file that makes a folder an adapter's.
const adapterConfig = "adapter_config.json"

// chatTemplates is the folder of chat templates beside the one of the tokenizer.
const chatTemplates = "additional_chat_templates"

// Lineage is the file in which a pruned model keeps where its layers come from.
const Lineage = "vkcome.json"

// FileList is the file in which a folder that vkcome wrote lists its files: see prune/work.
const FileList = "vkcome-files.json"

// Losses is the file in which a healed model keeps the losses of its training, a line of JSON for each step.
const Losses = "vkcome-losses.jsonl"

// sideFiles lists the regular files at the top of the model's folder that are neither left out nor written anew, and its chat templates.
func (m *Model) sideFiles() (list []string, err error) {
	names, err := regularFiles(m.Files, ".")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		isLeftOut := slices.ContainsFunc(leftOut, func(pattern string) bool {
			match, err := path.Match(pattern, strings.ToLower(name))
			return match && err == nil
		})
		if !isLeftOut && name != arch.ConfigFile && name != Lineage && name != Losses && name != FileList && !strings.HasPrefix(name, ".") {
			list = append(list, name)
		}
	}
	templates, err := regularFiles(m.Files, chatTemplates)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, name := range templates {
		if path.Ext(name) == ".jinja" {
			list = append(list, path.Join(chatTemplates, name))
		}
	}
	return list, nil
}

// CheckFiles refuses a model whose files beside the weights cannot go along with what is made of it, before hours are spent: one of them is a
// link to elsewhere, see files.Folder.Inside. Where the weights lie does not matter.
func (m *Model) CheckFiles() error {
	folder, ok := m.Files.(*files.Folder)
	if !ok {
		return nil
	}
	list, err := m.sideFiles()
	if err != nil {
		return err
	}
	for _, name := range append(list, Lineage, Losses) {
		if err := folder.Inside(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("model: %w", err)
		}
	}
	return nil
}

// copyFiles copies the files beside the weights.
func (m *Model) copyFiles(ctx context.Context, dir string, without []string) error {
	if err := m.CheckFiles(); err != nil {
		return err
	}
	list, err := m.sideFiles()
	if err != nil {
		return err
	}
	for _, name := range list {
		if slices.ContainsFunc(without, func(other string) bool { return strings.EqualFold(name, other) }) { // some file systems hold them for the same
			continue
		}
		to, err := files.Join(dir, name)
		if err != nil {
			return fmt.Errorf("model: copy: %w", err)
		}
		if err := files.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := files.Copy(ctx, to, m.Files, name); err != nil {
			return fmt.Errorf("model: copy %s: %w", name, err)
		}
	}
	return nil
}

// regularFiles lists those in a folder, through links too.
func regularFiles(from fs.FS, folder string) (names []string, err error) {
	entries, err := fs.ReadDir(from, folder)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	for _, e := range entries {
		if info, err := fs.Stat(from, path.Join(folder, e.Name())); err == nil && info.Mode().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
