//go:build unix

package filestest

import (
	"syscall"
	"testing"
)

// Device is a file that has no end.
const Device = "/dev/zero"

// PipesInFolders is whether a pipe can lie in a folder.
const PipesInFolders = true

// Pipe makes a pipe, at the path where pipes lie in folders, and gives its path.
func Pipe(t testing.TB, path string) string {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
