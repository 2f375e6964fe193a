package files

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/windows"
)

// NoWait is what opening takes so that it does not wait. Windows has no files of which it would.
const NoWait = 0

// What messages name that say where files of a kind go: the variables that the system has for it.
const TempVariable = "TMP"

// CacheVariable is that of os.UserCacheDir.
func CacheVariable() string { return "LocalAppData" }

// InUse says whether a file could not be removed, opened or replaced as a process has it open.
func InUse(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_DELETE_PENDING)
}

// CheckName is an error if no file can have a path's last name: it is a device's, as con and aux.gguf are, or has a colon, behind which a hidden part of
// a file would be written.
func CheckName(path string) error {
	if name := filepath.Base(path); name != "." && name != ".." && name != `\` && !filepath.IsLocal(name) {
		return wrong(path, "is no name of a file on Windows; choose another")
	}
	return nil
}

// patience is how long others are waited for that have a file open.
const patience = 2 * time.Second

// patiently does what others may stand in the way of.
func patiently(do func() error, others func(error) bool) error {
	for begin, pause := time.Now(), time.Millisecond; ; pause = min(2*pause, 16*time.Millisecond) {
		err := do()
		if !others(err) || time.Since(begin) > patience {
			return err
		}
		time.Sleep(pause)
	}
}

func rename(from, to string) error {
	return patiently(func() error { return os.Rename(from, to) }, func(err error) bool {
		return InUse(err) || errors.Is(err, windows.ERROR_ACCESS_DENIED) // the latter for what is to be replaced
	})
}

func remove(path string) error {
	return patiently(func() error { return os.Remove(path) }, InUse)
}

func readDir(path string) (list []os.DirEntry, err error) {
	err = patiently(func() error {
		list, err = os.ReadDir(path)
		return err
	}, InUse)
	return list, err
}

// scratch has the system remove the file when its last handle is closed, which it does for a process that is ended too.
func scratch(dir, pattern string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	before, after, _ := strings.Cut(pattern, "*")
	for range 100 {
		path := filepath.Join(dir, before+strconv.FormatUint(rand.Uint64(), 36)+after)
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|windows.FILE_FLAG_DELETE_ON_CLOSE, 0o600)
		if !errors.Is(err, os.ErrExist) {
			return f, err
		}
	}
	return nil, &os.PathError{Op: "create", Path: filepath.Join(dir, pattern), Err: os.ErrExist}
}
