package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/files/filestest"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	pipe := filestest.Pipe(t, at("pipe"))
	for _, err := range []error{
		os.WriteFile(at("file"), []byte("twelve bytes"), 0o600), os.Mkdir(at("folder"), 0o700),
		os.Symlink("file", at("link")), os.Symlink(pipe, at("link to a pipe")), os.Symlink("link in a circle", at("link in a circle")),
		os.WriteFile(at("million"), make([]byte, 1<<20+1), 0o600), os.WriteFile(at("sparse"), nil, 0o600), os.Truncate(at("sparse"), 20<<30),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	links := filestest.Links(t)
	for _, c := range []struct {
		path string
		most int64
		want string // of the error; empty: the file's twelve bytes
		kind error
	}{
		{at("file"), 0, "", nil},
		{at("file"), 12, "", nil},
		{at("link"), 12, "", nil},
		{at("file"), 11, "has 12 B, expected at most 11 B", fs.ErrInvalid},
		{at("million"), 1 << 20, "has 1048577 bytes, expected at most 1048576", fs.ErrInvalid},
		{at("sparse"), 1 << 20, "has 20 GiB, expected at most 1.0 MiB", fs.ErrInvalid},
		{at("folder"), 0, "is a folder, expected a file", fs.ErrInvalid},
		{pipe, 0, "is a pipe, expected a regular file", fs.ErrInvalid},
		{at("link to a pipe"), 0, "is a pipe, expected a regular file", fs.ErrInvalid},
		{filestest.Device, 0, "is a device, expected a regular file", fs.ErrInvalid},
		{at("none"), 0, "none", fs.ErrNotExist},
		{at("link in a circle"), 0, "link in a circle", nil},
	} {
		if strings.Contains(c.path, "link") && !links {
			continue
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			raw, err := files.Read(c.path, c.most)
			if c.want == "" {
				if err != nil || string(raw) != "twelve bytes" {
					t.Errorf("%s: %q, %v", c.path, raw, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("%s, at most %d: %v, expected %q", c.path, c.most, err, c.want)
			}
			if other := files.Check(c.path, c.most); other == nil {
				t.Errorf("%s: Check finds nothing", c.path)
			}
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: still reading after 10 s", c.path)
		}
	}
	if raw, err := files.ReadFS(os.DirFS(dir), "file", 12); err != nil || string(raw) != "twelve bytes" {
		t.Errorf("%q, %v", raw, err)
	}
	if _, err := files.ReadFS(os.DirFS(dir), "pipe", 12); filestest.PipesInFolders && !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("ReadFS of a pipe: %v", err)
	}
}

// TestWriteNew: a file that is there stays as it is, and nothing is left beside it.
func TestWriteNew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	if err := files.WriteNew(path, []byte("first"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := files.WriteNew(path, []byte("second"), 0o644); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	files.Fault = func(step, _ string) error {
		if step == "write" {
			return errors.New("full")
		}
		return nil
	}
	defer func() { files.Fault = nil }()
	if err := files.WriteNew(filepath.Join(dir, "b.json"), []byte("third"), 0o644); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("a write that fails: %v", err)
	}
	raw, err := os.ReadFile(path)
	entries, listed := os.ReadDir(dir)
	if err != nil || string(raw) != "first" || listed != nil || len(entries) != 1 {
		t.Errorf("%q, %v, %v, %v", raw, err, listed, entries)
	}
}
