package model_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/modeltest"
)

// stored are models in a folder of their own by the way in which their weights are stored, each with the file that holds the most of them.
var stored = map[string]func(t *testing.T, dir string) (weights string){
	"safetensors": func(t *testing.T, dir string) string {
		modeltest.Odd["llama"].Write(t, dir)
		return "model.safetensors"
	},
	"shards": func(t *testing.T, dir string) string {
		m, _ := modeltest.Odd["llama"].Open(t)
		if err := m.Write(t.Context(), dir, int(m.Bytes()/3)); err != nil {
			t.Fatal(err)
		}
		list, err := filepath.Glob(filepath.Join(dir, "model-00002-of-*.safetensors"))
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		return filepath.Base(list[0])
	},
	"experts": func(t *testing.T, dir string) string {
		spec, err := modeltest.Named("mixtral")
		if err != nil {
			t.Fatal(err)
		}
		spec.Vocab, spec.Wide = 61, "model.layers.1.block_sparse_moe.experts.3.w2.weight" // read through stacked and converted
		spec.Write(t, dir)
		return "model.safetensors"
	},
	"torch": func(t *testing.T, dir string) string {
		if err := os.CopyFS(dir, os.DirFS("torchfile/testdata/model")); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
			t.Fatal(err)
		}
		return "pytorch_model.bin"
	},
	"gguf": func(t *testing.T, dir string) string {
		raw, err := os.ReadFile(tiny)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "m.gguf"), raw, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return "m.gguf"
	},
}

// uses are what a program does with a model's weights.
var uses = map[string]func(t *testing.T, m *model.Model) error{
	"pieces": func(t *testing.T, m *model.Model) error {
		return each(m, func(w model.Weight) error { return w.Pieces(func(int64, []byte) error { return nil }) })
	},
	"rows": func(t *testing.T, m *model.Model) error {
		return each(m, func(w model.Weight) error {
			_, err := w.ReadRows(make([]byte, w.Size()), w.Rows-1, w.Rows)
			return err
		})
	},
	"floats": func(t *testing.T, m *model.Model) error {
		return each(m, func(w model.Weight) error {
			_, err := w.Floats()
			return err
		})
	},
	"map": func(t *testing.T, m *model.Model) error {
		return each(m, func(w model.Weight) error {
			_, err := w.Map(func(int, []float32) {})
			return err
		})
	},
	"finite": func(t *testing.T, m *model.Model) error {
		return each(m, func(w model.Weight) error {
			_, err := w.NonFinite()
			return err
		})
	},
	"stack": func(t *testing.T, m *model.Model) error {
		w := m.Layers[0].Weights[arch.Q]
		both, err := model.Stack(w, m.Layers[1].Weights[arch.Q])
		if err == nil {
			_, err = both.Bytes()
		}
		return err
	},
	"save": func(t *testing.T, m *model.Model) error {
		path := filepath.Join(t.TempDir(), "layer.safetensors")
		err := model.SaveLayer(path, m.Layers[0])
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); err != nil && len(left) > 0 {
			t.Errorf("left %q", left)
		}
		return err
	},
	"write": func(t *testing.T, m *model.Model) error {
		dir := t.TempDir()
		err := m.Write(t.Context(), dir, model.DefaultShard)
		if left, _ := filepath.Glob(filepath.Join(dir, "*.safetensors")); err != nil && len(left) > 0 {
			t.Errorf("left %q", left)
		}
		return err
	},
}

func each(m *model.Model, f func(w model.Weight) error) error {
	for _, w := range m.AllWeights() {
		if w.IsZero() {
			continue
		}
		if err := f(w); err != nil {
			return err
		}
	}
	return nil
}

// wantChanged wants one line that names the file and says that it changed.
func wantChanged(t *testing.T, what, path string, err error) {
	t.Helper()
	if !errors.Is(err, files.ErrChanged) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path+" changed while it was read") {
		t.Errorf("%s: %v, expected that %s changed while it was read", what, err, path)
	}
}

// A file of weights that is cut, grows or is written to after it was opened is an error that names it, whatever is done with the model; no
// process ends by it. The library is what is tested here: this program embeds it.
func TestChangedWeights(t *testing.T) {
	rng := rand.New(rand.NewPCG(16, 1))
	for kind, make := range stored {
		for use, run := range uses {
			changes := map[string]func(path string, size int64) error{
				"grown": func(path string, size int64) error { return os.Truncate(path, size+1) },
				"written to": func(path string, size int64) error {
					f, err := os.OpenFile(path, os.O_RDWR, 0)
					if err == nil {
						_, err = f.WriteAt([]byte{1}, size-1)
						err = errors.Join(err, f.Close(), os.Chtimes(path, time.Time{}, time.Now().Add(time.Second))) // the clock of files is coarse
					}
					return err
				},
			}
			for i, part := range []float64{0, 0.002, 0.5, 0.9999, rng.Float64(), rng.Float64()} {
				changes[fmt.Sprintf("cut %d: to %.4f of it", i, part)] = func(path string, size int64) error { return os.Truncate(path, int64(part*float64(size))) }
			}
			for change, do := range changes {
				dir := t.TempDir()
				path := filepath.Join(dir, make(t, dir))
				m, err := model.Open(dir)
				if err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				info, err := os.Stat(path)
				if err == nil {
					err = do(path, info.Size())
				}
				if err != nil {
					t.Fatal(err)
				}
				err = run(t, m)
				if kind == "shards" && err == nil && (use == "stack" || use == "save") { // of another shard
					err = m.Unchanged()
				}
				wantChanged(t, kind+", "+change+", "+use, path, err)
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// Files that have another file in their place, or none, can be read on, and nothing that is made of the model is good any more.
func TestReplacedFiles(t *testing.T) {
	for kind, make := range stored {
		for _, name := range []string{"", "config.json", "generation_config.json", "README.md"} {
			for what, do := range map[string]func(path string) error{
				"removed": os.Remove,
				"replaced": func(path string) error {
					raw, err := os.ReadFile(path)
					return errors.Join(err, os.WriteFile(path+".new", raw, 0o644), os.Rename(path+".new", path))
				},
			} {
				dir := t.TempDir()
				file := make(t, dir)
				if name != "" {
					file = name
				}
				if kind == "gguf" && name != "" {
					continue
				}
				path := filepath.Join(dir, file)
				if _, err := os.Stat(path); err != nil {
					if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				m, err := model.Open(dir)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := m.Generation(); err != nil {
					t.Fatal(err)
				}
				if f, err := m.Files.Open(file); err != nil || f.Close() != nil {
					t.Fatal(err)
				}
				if err := m.Unchanged(); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
				if err := do(path); err != nil {
					t.Fatal(err)
				}
				if err := uses["pieces"](t, m); err != nil {
					t.Errorf("%s: %s %s: %v", kind, file, what, err)
				}
				wantChanged(t, kind+" "+what, path, m.Unchanged())
				if what == "replaced" {
					wantChanged(t, kind+" "+what+", written", path, uses["write"](t, m))
				}
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}
