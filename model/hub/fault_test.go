package hub

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/files/filestest"
)

// TestFetchFaults lets each step of writing fail while files are fetched: the next fetch gets all of them, and no temporary name is left.
func TestFetchFaults(t *testing.T) {
	_, h := newSet(t)
	links := filestest.Links(t)
	get := func() error {
		found, _, err := h.Files(t.Context(), set, "data/train-*.parquet")
		if err == nil && len(found) != 2 {
			t.Errorf("%d files", len(found))
		}
		for i, file := range found {
			if raw, read := os.ReadFile(file); read != nil || string(raw) != []string{"rows", "more rows"}[i] {
				t.Errorf("%s: %q, %v", file, raw, read)
			}
		}
		return err
	}
	afresh := func() error {
		h.Cache = t.TempDir()
		return get()
	}
	steps := filestest.EachStep(t, afresh, func(step string, err error) {
		if err == nil && !links {
			return // it was of a link, which has a hard link in its place where there are none
		}
		if !errors.Is(err, filestest.Err) || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "hub: ") {
			t.Errorf("%s: %v", step, err)
		}
		if err := get(); err != nil {
			t.Errorf("after %s: %v", step, err)
		}
		_ = filepath.WalkDir(h.Cache, func(path string, e fs.DirEntry, err error) error {
			if err != nil || strings.HasSuffix(path, ".tmp") || strings.HasSuffix(path, partial) {
				t.Errorf("after %s: left behind: %s, %v", step, path, err)
			}
			return nil
		})
	})
	if steps < 15 {
		t.Errorf("%d steps", steps)
	}
}
