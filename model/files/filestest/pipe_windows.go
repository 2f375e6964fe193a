package filestest

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/windows"
)

// Device is what is no file, whatever folder it is named in.
const Device = "NUL"

// PipesInFolders is whether a pipe can lie in a folder.
const PipesInFolders = false

var pipes atomic.Int64

// Pipe makes a pipe, at the path where pipes lie in folders, and gives its path.
func Pipe(t testing.TB, _ string) string {
	t.Helper()
	path := fmt.Sprintf(`\\.\pipe\vkcome-test-%d-%d`, os.Getpid(), pipes.Add(1))
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 { // each is opened once
		pipe, err := windows.CreateNamedPipe(name, windows.PIPE_ACCESS_DUPLEX, windows.PIPE_TYPE_BYTE, windows.PIPE_UNLIMITED_INSTANCES, 0, 0, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = windows.CloseHandle(pipe) })
	}
	return path
}
