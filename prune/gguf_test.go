package prune_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// A run writes a GGUF file where the name of its output ends so: with its lineage, the models between, replaced only by --force, and pruned
// again as a folder is.
func TestGGUFOutput(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		m, err := embedded.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		dir := t.TempDir()
		run := func(m *model.Model, o prune.Output, layers ...int) (*prune.Lineage, error) {
			t.Helper()
			p, err := prune.NewPlan(m, prune.Options{Method: method.Drop{Layers: layers}})
			if err != nil {
				t.Fatal(err)
			}
			return p.RunTo(context.Background(), d, o, nil)
		}
		open := func(name string) *model.Model {
			t.Helper()
			m, err := model.Open(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			})
			return m
		}
		out := filepath.Join(dir, "a.gguf")
		lineage, err := run(m, prune.Output{Dir: out, Type: "bf16"}, 3, 5)
		if err != nil {
			t.Fatal(err)
		}
		a := open("a.gguf")
		tree, root, err := prune.ReadTree(a)
		if err != nil || root != 12 || len(tree) != 10 || len(lineage.Tree) != 10 || tree[3].Layer != lineage.Tree[3].Layer {
			t.Errorf("tree %v of %d layers, error %v; the run's is %v", tree, root, err, lineage.Tree)
		}
		for l, from := range []int{0, 1, 2, 4, 6, 7, 8, 9, 10, 11} {
			for r := range arch.LayerRoles {
				sameValues(t, m.Layers[from].Weights[r], a.Layers[l].Weights[r])
			}
		}
		if entries, err := os.ReadDir(dir); err != nil || strings.Contains(entries[0].Name(), "tmp") || len(entries) != 1 {
			t.Errorf("the folder holds %v, error %v", entries, err)
		}

		if step := prune.StepDir(out, 11); filepath.Base(step) != "a.L11.gguf" {
			t.Errorf("the model of 11 layers on the way goes to %s", step)
		}
		if _, err := run(m, prune.Output{Dir: out}, 1); !errors.Is(err, prune.ErrExists) {
			t.Errorf("an output that exists: error %v", err)
		}
		if _, err := run(a, prune.Output{Dir: out, Force: true}, 1); !errors.Is(err, prune.ErrExists) {
			t.Errorf("an output that is the model itself: error %v", err)
		}
		if _, err := run(m, prune.Output{Dir: out, Force: true, Type: "q8_0"}, 1); err != nil {
			t.Error(err)
		}
		if _, err := run(m, prune.Output{Dir: filepath.Join(dir, "c.gguf"), Type: "q9"}, 1); err == nil || !strings.Contains(err.Error(), "q4_0") {
			t.Errorf("a type that there is not: error %v", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "other.gguf"), []byte("not ours"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := run(m, prune.Output{Dir: filepath.Join(dir, "other.gguf"), Force: true}, 1); !errors.Is(err, prune.ErrExists) {
			t.Errorf("a file that is not vkcome's: error %v", err)
		}

		if _, err := run(open("a.gguf"), prune.Output{Dir: filepath.Join(dir, "b")}, 0); err != nil {
			t.Fatal(err)
		}
		if tree, root, err := prune.ReadTree(open("b")); err != nil || root != 12 || len(tree) != 10 || tree[0].Layer != 1 && tree[0].Layer != 2 {
			t.Errorf("pruned again: tree %v of %d, error %v", tree, root, err)
		}
	})
}

// sameValues compares two weights' values, whatever holds them.
func sameValues(t *testing.T, want, got model.Weight) {
	t.Helper()
	if want.IsZero() || got.IsZero() {
		if want.IsZero() != got.IsZero() {
			t.Errorf("%s: one of the two is absent", want.Name)
		}
		return
	}
	values := func(w model.Weight) []float32 {
		return modeltest.Floats(t, w)
	}
	a, b := values(want), values(got)
	for i := range a {
		if a[i] != b[i] {
			t.Errorf("%s: value %d is %v, was %v", want.Name, i, b[i], a[i])
			return
		}
	}
}
