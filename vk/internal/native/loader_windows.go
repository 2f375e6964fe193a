package native

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// searched are where Windows looks for a library of a bare name: beside the program and in its own folder, and not in the folder that the program
// was started in, in which a model of a stranger may lie.
const searched = windows.LOAD_LIBRARY_SEARCH_DEFAULT_DIRS

// library loads a library. One with a path finds what it needs beside itself too.
func library(path string) (windows.Handle, error) {
	flags := uintptr(searched)
	if filepath.IsAbs(path) {
		flags |= windows.LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR
	}
	handle, err := windows.LoadLibraryEx(path, 0, flags)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return handle, nil
}

// open gives the entry point of a loader.
func open(name string) (entryPoint uintptr, wrong *NoLoader) {
	handle, err := library(name)
	if err != nil {
		return 0, &NoLoader{err.Error(), missing(name, err)}
	}
	if entryPoint, err = windows.GetProcAddress(handle, entry); err != nil {
		return 0, noEntry
	}
	return entryPoint, nil
}

// missing says whether there is no file of a library. Windows has the same error for a library that it needs, which is no reason to install it.
func missing(name string, err error) bool {
	if !errors.Is(err, windows.ERROR_MOD_NOT_FOUND) {
		return false
	}
	handle, err := windows.LoadLibraryEx(name, 0, searched|windows.LOAD_LIBRARY_AS_DATAFILE)
	if err != nil {
		return true
	}
	_ = windows.FreeLibrary(handle) // it was read, and nothing else
	return false
}

// LibraryError is why a library cannot be loaded, nil if it can.
func LibraryError(path string) error {
	handle, err := library(path)
	if err != nil {
		return err
	}
	return windows.FreeLibrary(handle)
}
