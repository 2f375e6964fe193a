package hub

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestCachedModels(t *testing.T) {
	h := Hub{Cache: filepath.Join(t.TempDir(), "hub")}
	if list, err := h.CachedModels(); err != nil || len(list) != 0 {
		t.Errorf("no cache: %v, %v", list, err)
	}
	for _, repo := range []string{"models--owner--whole", "models--owner--half", "datasets--owner--set"} {
		snapshot := "snapshots/" + "0123456789012345678901234567890123456789" + "/"
		write(t, filepath.Join(h.Cache, repo), snapshot+"config.json", "{}")
		if repo != "models--owner--half" {
			write(t, filepath.Join(h.Cache, repo), snapshot+"model.safetensors", "weights")
			write(t, filepath.Join(h.Cache, repo), snapshot+"tokenizer.json", "{}")
		}
	}
	write(t, h.Cache, "models--a--b--c/refs/main", "no commit")
	write(t, h.Cache, "models--.._x/snapshots/0/config.json", "{}")
	if list, err := h.CachedModels(); err != nil || !slices.Equal(list, []string{"owner/whole"}) {
		t.Errorf("%v, %v", list, err)
	}
}
