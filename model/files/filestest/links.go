package filestest

import (
	"os"
	"path/filepath"
	"testing"
)

// Links says whether symbolic links can be made and followed: on Windows not without a right, and Wine has none.
func Links(t testing.TB) bool {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Symlink("file", filepath.Join(dir, "link")) != nil {
		return false
	}
	text, err := os.ReadFile(filepath.Join(dir, "link"))
	return err == nil && string(text) == "text"
}
