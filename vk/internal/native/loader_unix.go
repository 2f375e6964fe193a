//go:build unix

package native

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// The reason is the thread's, and what Go calls next may run on another one: it is copied here.
static void* open_library(const char* path, char** reason) {
	void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const char* why = library ? NULL : dlerror();
	*reason = why ? strdup(why) : NULL;
	return library;
}
*/
import "C"

import (
	"errors"
	"strings"
	"unsafe"
)

// library opens a library; the reason is the system's, where it cannot be.
func library(path string) (handle unsafe.Pointer, reason string) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var why *C.char
	handle = C.open_library(name, &why)
	switch {
	case why != nil:
		reason = C.GoString(why)
		C.free(unsafe.Pointer(why))
	case handle == nil:
		reason = path + ": no reason given"
	}
	return handle, reason
}

// open gives the entry point of a loader.
func open(name string) (entryPoint uintptr, wrong *NoLoader) {
	handle, reason := library(name)
	if handle == nil {
		return 0, &NoLoader{reason, missing(name, reason)}
	}
	symbol := C.CString(entry)
	defer C.free(unsafe.Pointer(symbol))
	if entryPoint = uintptr(C.dlsym(handle, symbol)); entryPoint == 0 {
		return 0, noEntry
	}
	return entryPoint, nil
}

// missing says whether dlopen's reason is that there is no file of a library; one that it needs is no reason to install it.
func missing(name, reason string) bool {
	return strings.HasPrefix(reason, name+": ") && strings.Contains(reason, "No such file") || // Linux
		strings.HasPrefix(reason, "dlopen("+name) && (strings.Contains(reason, "no such file") || strings.Contains(reason, "image not found")) // macOS
}

// LibraryError is why a library cannot be loaded, nil if it can.
func LibraryError(path string) error {
	handle, reason := library(path)
	if handle == nil {
		return errors.New(reason)
	}
	C.dlclose(handle)
	return nil
}
