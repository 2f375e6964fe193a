package named

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/hub"
)

// TestOpen opens the embedded model by its name and as a folder, and tells what is not there from what is not supported.
func TestOpen(t *testing.T) {
	dir, h := t.TempDir(), hub.Hub{Offline: true}
	folder, err := embedded.Files()
	if err == nil {
		err = os.CopyFS(dir, folder)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{embedded.Name, dir} {
		m, err := Open(context.Background(), name, h)
		if err != nil {
			t.Fatal(err)
		}
		if m.Name != name || len(m.Layers) != 12 {
			t.Errorf("%s has %d layers", m.Name, len(m.Layers))
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Open(context.Background(), filepath.Join(dir, "nothing"), h); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	h.Cache = filepath.Join(dir, "cache")
	if _, err := Open(context.Background(), "nobody/no-such-model", h); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such name: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, arch.ConfigFile), []byte(`{"model_type": "mamba"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), dir, h); !errors.Is(err, arch.ErrUnsupported) || errors.Is(err, ErrNotFound) {
		t.Errorf("another family: %v", err)
	}
}
