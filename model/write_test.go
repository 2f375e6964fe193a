package model_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/internal/lfs"
	"github.com/vkcome/vkcome/model/modeltest"
)

// A written model takes what still holds from its original's folder, and nothing that speaks of other weights.
func TestWriteFiles(t *testing.T) {
	m, dir := modeltest.Odd["llama"].Open(t)
	for _, name := range []string{"README.md", "generation_config.json", "chat_template.jinja", "tokenizer.model", "modeling_x.py", "additional_chat_templates/tools.jinja",
		"additional_chat_templates/notes.txt", "onnx/model.onnx", "original/params.json", "params.json", "consolidated.safetensors", "consolidated.00.pth", "pytorch_model-00001-of-00002.bin",
		"pytorch_model.bin.index.json", "flax_model.msgpack", "tf_model.h5", "Model-Q4_K_M.GGUF", "imatrix.dat", "model.onnx_data", ".gitattributes", "vkcome.json", "config.4.45.0.json"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := t.TempDir()
	if err := m.Write(t.Context(), out, model.DefaultShard); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(out, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, _ := filepath.Rel(out, path)
			got = append(got, filepath.ToSlash(name))
		}
		return err
	})
	want := []string{"README.md", "additional_chat_templates/tools.jinja", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "modeling_x.py", "tokenizer.model"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("wrote %q, %v, want %q", got, err, want)
	}
	without := t.TempDir()
	if err := m.Write(t.Context(), without, model.DefaultShard, "readme.MD", "tools.jinja"); err != nil {
		t.Fatal(err)
	}
	for name, there := range map[string]bool{"README.md": false, "chat_template.jinja": true, "additional_chat_templates/tools.jinja": true} {
		if _, err := os.Stat(filepath.Join(without, name)); (err == nil) != there {
			t.Errorf("without README.md and tools.jinja at the top: %s is there: %v, want %v", name, err == nil, there)
		}
	}
}

// A file that git has not fetched is named as such, whatever reads it.
func TestPointers(t *testing.T) {
	pointer := []byte("version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 4976698672\n")
	for name, read := range map[string]func(dir string) error{
		"config.json":       func(dir string) error { _, err := arch.LoadConfig(dir); return err },
		"model.safetensors": func(dir string) error { _, err := model.Open(dir); return err },
		"tokenizer.json": func(dir string) error {
			m, err := model.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			_, err = m.Tokenizer()
			return err
		},
		"generation_config.json": func(dir string) error {
			m, err := model.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			_, err = m.Generation()
			return err
		},
	} {
		_, dir := modeltest.Odd["llama"].Open(t)
		if err := os.WriteFile(filepath.Join(dir, name), pointer, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := read(dir); err == nil || !strings.Contains(err.Error(), lfs.ErrPointer.Error()) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An adapter beside the weights would change them in other programs.
func TestAdapter(t *testing.T) {
	_, dir := modeltest.Odd["llama"].Open(t)
	if err := os.WriteFile(filepath.Join(dir, "adapter_config.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := model.Open(dir); err == nil || !strings.Contains(err.Error(), "holds an adapter") {
		t.Errorf("a folder with an adapter: %v", err)
	}
}

// A model of PyTorch's own format is the same as one of safetensors, is written as safetensors, and gives way to one beside it.
func TestTorchFiles(t *testing.T) {
	files := os.DirFS("torchfile/testdata/model")
	open := func(leave string) (*model.Model, string) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, files); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, leave)); err != nil {
			t.Fatal(err)
		}
		m, err := model.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
		return m, dir
	}
	want, _ := open("pytorch_model.bin")
	got, dir := open("model.safetensors")
	out := t.TempDir()
	if err := got.Write(t.Context(), out, model.DefaultShard); err != nil {
		t.Fatal(err)
	}
	again, err := model.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for i, w := range want.AllWeights() {
		for _, other := range []model.Weight{got.AllWeights()[i], again.AllWeights()[i]} {
			if other.DType != w.DType || !bytes.Equal(modeltest.Bytes(t, other), modeltest.Bytes(t, w)) {
				t.Errorf("%s: %v, want %v, or other values", w.Name, other.DType, w.DType)
			}
		}
	}
	a, err := model.Hash(t.Context(), os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := model.Hash(t.Context(), os.DirFS(dir)); err != nil || a == b {
		t.Errorf("weights that are others have the hash %s too, %v", b, err)
	}
	if _, err := model.Open(dir); err == nil || !strings.Contains(err.Error(), "pytorch_model.bin: neither a zip archive") {
		t.Errorf("no checkpoint: %v", err)
	}
}
