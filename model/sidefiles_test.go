package model_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files/filestest"
	"github.com/vkcome/vkcome/model/modeltest"
)

// within ends a test that reads without end.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: still reading after 20 s", what)
	}
}

// openAll opens a model with all that a program reads of its folder.
func openAll(dir string) error {
	m, err := model.Open(dir)
	if err != nil {
		return err
	}
	_, err = m.Tokenizer()
	_, err2 := m.Generation()
	return errors.Join(err, err2, m.Close())
}

// Files of a model's folder that are no files, or have no end, are refused at once by name.
func TestEndlessFiles(t *testing.T) {
	for _, name := range []string{"config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "tokenizer_config.json",
		"special_tokens_map.json", "added_tokens.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "m.gguf"} {
		for kind, make := range map[string]func(path string) error{
			"a pipe": func(path string) error {
				if pipe := filestest.Pipe(t, path); pipe != path {
					return os.Symlink(pipe, path)
				}
				return nil
			},
			"a device":       func(path string) error { return os.Symlink(filestest.Device, path) },
			"a sparse 20 GB": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 20<<30)) },
		} {
			_, dir := modeltest.Odd["llama"].Open(t)
			path := filepath.Join(dir, name)
			if strings.HasSuffix(name, ".index.json") || name == "pytorch_model.bin" || name == "m.gguf" { // what is read only where nothing else is
				if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
					t.Fatal(err)
				}
			}
			if name == "m.gguf" {
				if err := os.Remove(filepath.Join(dir, "config.json")); err != nil {
					t.Fatal(err)
				}
			}
			if name == "merges.txt" {
				if err := os.WriteFile(filepath.Join(dir, "vocab.json"), []byte(`{"a": 0}`), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			within(t, name, func() {
				if err := openAll(dir); err == nil || !strings.Contains(err.Error(), name) || len(err.Error()) > 1000 {
					t.Errorf("%s is %s: %v", name, kind, err)
				}
			})
		}
	}
}

// Names of megabytes are errors of a line.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("x", 10<<20)
	header := func(text string, data int) []byte {
		return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), make([]byte, data)...)
	}
	text := func(s string) []byte { return append(binary.LittleEndian.AppendUint64(nil, uint64(len(s))), s...) }
	ggufHead := func(tensors, pairs uint64) []byte {
		raw := binary.LittleEndian.AppendUint32([]byte("GGUF"), 3)
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(raw, tensors), pairs)
	}
	word := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
	pickled := func(name string) []byte { // {name: 1} by protocol 2, behind the magic number and the version of the older format
		raw := []byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02}")
		return append(append(append(append(raw, 'X'), word(uint32(len(name)))...), name...), "K\x01s.\x80\x02].\x00"...)
	}
	for _, c := range []struct {
		what, file string
		raw        []byte
	}{
		{"a tensor", "model.safetensors", header(`{"`+long+`":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4)},
		{"a tensor twice", "model.safetensors", header(`{"`+long+`":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"`+long+`":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, 0)},
		{"a name with control characters", "model.safetensors", header(`{"`+long+`\n":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4)},
		{"a dtype", "model.safetensors", header(`{"a":{"dtype":"`+long+`","shape":[1],"data_offsets":[0,4]}}`, 4)},
		{"a shape", "model.safetensors", header(`{"a":{"dtype":"F32","shape":[1`+strings.Repeat(",1", 1<<20)+`],"data_offsets":[0,4]}}`, 4)},
		{"offsets", "model.safetensors", header(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0`+strings.Repeat(",1", 1<<20)+`]}}`, 4)},
		{"a number", "model.safetensors", header(`{"a":{"dtype":"F32","shape":[1`+strings.Repeat("1", 1<<20)+`],"data_offsets":[0,4]}}`, 4)},
		{"a tensor of an index", "model.safetensors.index.json", []byte(`{"weight_map":{"` + long + `":"a.safetensors"}}`)},
		{"a shard", "model.safetensors.index.json", []byte(`{"weight_map":{"a":"` + long + `"}}`)},
		{"a number of an index", "model.safetensors.index.json", []byte(`{"weight_map":{"a":1` + strings.Repeat("1", 1<<20) + `}}`)},
		{"a tensor of an index", "pytorch_model.bin.index.json", []byte(`{"weight_map":{"` + long + `":"a.bin"}}`)},
		{"a shard", "pytorch_model.bin.index.json", []byte(`{"weight_map":{"a":"` + long + `"}}`)},
		{"a number of an index", "pytorch_model.bin.index.json", []byte(`{"weight_map":{"a":1` + strings.Repeat("1", 1<<20) + `}}`)},
		{"a key of a pickle", "pytorch_model.bin", pickled(long)},
		{"a key", "m.gguf", slices.Concat(ggufHead(0, 1), text(long), word(4), word(1))},
		{"a value", "m.gguf", slices.Concat(ggufHead(0, 1), text("general.type"), word(8), text(long))},
		{"an architecture", "m.gguf", slices.Concat(ggufHead(0, 1), text("general.architecture"), word(8), text(long))},
		{"an alignment", "m.gguf", slices.Concat(ggufHead(0, 1), text("general.alignment"), word(8), text(long))},
		{"a part", "m.gguf", slices.Concat(ggufHead(0, 1), text("split.count"), word(8), text(long))},
		{"a tensor", "m.gguf", slices.Concat(ggufHead(1, 0), text(long), word(1), make([]byte, 64))},
	} {
		_, dir := modeltest.Odd["llama"].Open(t)
		remove := []string{"model.safetensors"}
		if c.file == "m.gguf" {
			remove = append(remove, "config.json")
		}
		for _, name := range remove {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, c.file), c.raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := openAll(dir); err == nil || len(err.Error()) > 600 || !strings.Contains(err.Error(), c.file) && !strings.Contains(err.Error(), "config.json promises") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %s: %.300v", c.file, c.what, err)
		}
	}
}

// What is copied along is the folder's own: links that lead out of it are refused by name before anything is written, but for those of a
// cache of Hugging Face, and for the weights.
func TestLinkedFiles(t *testing.T) {
	home := t.TempDir()
	secret := filepath.Join(home, "secret")
	if err := os.WriteFile(secret, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(from, to string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(from), 0o755), os.Symlink(to, from)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, to string // the link and where it leads, {dir} the folder
		out      bool
	}{
		{"README.md", secret, true}, {"tokenizer.model", secret, true}, {"chat_template.jinja", secret, true}, {"additional_chat_templates/a.jinja", secret, true},
		{"notes.txt", "../secret", true}, {"vkcome.json", secret, true}, {"vkcome-losses.jsonl", secret, true}, {"two.txt", "one.txt", true}, {"additional_chat_templates", "../templates", true},
		{"README.md", "config.json", false}, {"README.md", "./sub/../config.json", false}, {"more.bin", secret, false}, {".hidden", secret, false}, {"gone.txt", "nowhere", false},
	} {
		dir := filepath.Join(home, strings.ReplaceAll(fmt.Sprint("model of ", c.name, c.to, c.out), "/", "_"))
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "sub"), 0o755), os.MkdirAll(filepath.Join(home, "templates"), 0o755),
			os.WriteFile(filepath.Join(home, "templates", "b.jinja"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		modeltest.Odd["llama"].Write(t, dir)
		if c.to == "one.txt" {
			link(filepath.Join(dir, "one.txt"), secret)
		}
		link(filepath.Join(dir, c.name), c.to)
		m := modeltest.Open(t, dir)
		out := t.TempDir()
		err := m.Write(t.Context(), out, model.DefaultShard)
		if !c.out {
			if err != nil {
				t.Errorf("%s -> %s: %v", c.name, c.to, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), " is a link to "+home) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s -> %s: %v", c.name, c.to, err)
		}
		if errs := m.CheckFiles(); errs == nil || errs.Error() != err.Error() {
			t.Errorf("before: %v, then: %v", errs, err)
		}
	}

	snapshot, blobs := filepath.Join(home, "hub/models--a--b/snapshots/0123"), filepath.Join(home, "hub/models--a--b/blobs")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	modeltest.Odd["llama"].Write(t, blobs)
	for _, name := range []string{"config.json", "model.safetensors"} {
		link(filepath.Join(snapshot, name), "../../blobs/"+name)
	}
	link(filepath.Join(snapshot, "README.md"), "../../blobs/config.json")
	mine := filepath.Join(home, "mine") // a folder of links by hand: weights and config may lie anywhere
	link(filepath.Join(mine, "model.safetensors"), filepath.Join(blobs, "model.safetensors"))
	link(filepath.Join(mine, "config.json"), filepath.Join(blobs, "config.json"))
	link(filepath.Join(home, "other"), snapshot)
	for _, dir := range []string{snapshot, mine, filepath.Join(home, "other")} {
		if err := modeltest.Open(t, dir).Write(t.Context(), t.TempDir(), model.DefaultShard); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
	link(filepath.Join(snapshot, "notes.txt"), "../../../models--other/blobs/x")
	if err := errors.Join(os.MkdirAll(filepath.Join(home, "hub/models--other/blobs"), 0o755), os.WriteFile(filepath.Join(home, "hub/models--other/blobs/x"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := modeltest.Open(t, snapshot).CheckFiles(); err == nil || !strings.Contains(err.Error(), "notes.txt is a link to") {
		t.Errorf("a link into another repository: %v", err)
	}
}
