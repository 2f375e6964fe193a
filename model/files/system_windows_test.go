package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/files"
)

func TestNames(t *testing.T) {
	for _, name := range []string{"con", "NUL", "aux.gguf", "com1", "a:b", "a.gguf:hidden"} {
		if err := files.CheckName(filepath.Join(`C:\models`, name)); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s as an output: %v", name, err)
		}
	}
	for _, path := range []string{`C:\models\out`, "out", ".", `..\out`, `C:\`, "ein Ordner 模型 😀", "console.gguf", "a.b.c"} {
		if err := files.CheckName(path); err != nil {
			t.Errorf("%s as an output: %v", path, err)
		}
	}
	for _, name := range []string{"aux", "a/nul.json", "a:b", `..\b`, `a\b`, "C:/x", "../b", "/b"} {
		if path, err := files.Join(`C:\models`, name); err == nil {
			t.Errorf("%s below a folder: %s", name, path)
		}
		if f, err := files.NewFolder(t.TempDir()).Open(name); err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
		}
	}
}

// TestPatience renames and removes what somebody else has open for a moment, and what nobody closes.
func TestPatience(t *testing.T) {
	dir := t.TempDir()
	path, next := filepath.Join(dir, "file"), filepath.Join(dir, "next")
	for _, what := range []func() error{func() error { return files.Rename(next, path) }, func() error { return files.Remove(path) }} {
		for _, closes := range []bool{true, false} {
			if err := errors.Join(os.WriteFile(path, []byte("old"), 0o600), os.WriteFile(next, []byte("new"), 0o600)); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			closed := make(chan error, 1)
			if closes {
				time.AfterFunc(200*time.Millisecond, func() { closed <- f.Close() })
			}
			err = what()
			if !closes {
				closed <- f.Close()
			}
			if wrong := <-closed; (err == nil) != closes || wrong != nil {
				t.Errorf("closed in time %v: %v, %v", closes, err, wrong)
			}
		}
	}
}

// TestScratch: a file for a while has gone when it is closed.
func TestScratch(t *testing.T) {
	dir := t.TempDir()
	f, err := files.Scratch(dir, "vkcome-*")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write([]byte("text"))
	text := make([]byte, 4)
	if _, wrong := f.ReadAt(text, 0); err != nil || wrong != nil || string(text) != "text" {
		t.Errorf("%q, %v, %v", text, err, wrong)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
