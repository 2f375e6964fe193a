//go:build unix

package files

import (
	"errors"
	"os"
	"runtime"
	"syscall"
)

// NoWait is what opening takes so that it does not wait: without it a pipe is opened when its other end is.
const NoWait = syscall.O_NONBLOCK

// What messages name that say where files of a kind go: the variables that the system has for it.
const TempVariable = "TMPDIR"

// CacheVariable is that of os.UserCacheDir.
func CacheVariable() string {
	if runtime.GOOS == "darwin" {
		return "HOME"
	}
	return "XDG_CACHE_HOME"
}

// InUse says whether a file could not be removed, opened or replaced as a process has it open, which this system does not mind.
func InUse(error) bool { return false }

// CheckName is an error if no file can have a path's last name, which is as good as any other here.
func CheckName(string) error { return nil }

func rename(from, to string) error { return os.Rename(from, to) }

func remove(path string) error { return os.Remove(path) }

func readDir(path string) ([]os.DirEntry, error) { return os.ReadDir(path) }

func scratch(dir, pattern string) (*os.File, error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
