package native

/*
#include "thunks.h"
*/
import "C"

import (
	"os"
	"runtime"
	"sync"
	"unsafe"

	"github.com/vulkan-go/vulkan"
)

var load struct {
	sync.Once
	err error
}

// NoLoader is the error where the Vulkan loader cannot be opened.
type NoLoader struct {
	Reason  string // the system's, of the first name that it is looked for by
	Missing bool   // there is no such library; else it is there and cannot be used
}

func (n *NoLoader) Error() string { return n.Reason }

// loadLibrary opens the Vulkan loader by its run-time name: the binding's default asks for libvulkan.so, which only -dev packages have.
func loadLibrary() error {
	load.Do(func() {
		proc, err := openLoader(loaders(runtime.GOOS, os.Getenv))
		if err != nil {
			load.err = err
			return
		}
		vulkan.SetGetInstanceProcAddr(proc)
		load.err = vulkan.Init()
	})
	return load.err
}

// loaders are the names that a system's loader goes by, the first that a package installs it as. The linker of macOS does not look where
// Homebrew on Apple silicon and the SDK of LunarG put libraries. MoltenVK alone will do too.
func loaders(system string, env func(string) string) (names []string) {
	switch system {
	case "windows":
		return []string{"vulkan-1.dll"}
	case "darwin":
	default:
		return []string{"libvulkan.so.1", "libvulkan.so"}
	}
	folders := []string{"", "/opt/homebrew/lib/", "/usr/local/lib/"}
	if sdk := env("VULKAN_SDK"); sdk != "" {
		folders = append(folders, sdk+"/lib/")
	}
	for _, library := range []string{"libvulkan.1.dylib", "libMoltenVK.dylib"} {
		for _, folder := range folders {
			names = append(names, folder+library)
		}
	}
	return names
}

// openLoader opens the first of some libraries that is a loader.
func openLoader(names []string) (proc unsafe.Pointer, err error) {
	var first *NoLoader
	for _, name := range names {
		address, wrong := open(name)
		if wrong == nil {
			return C.vkc_use_loader(C.uintptr_t(address)), nil
		}
		if first == nil || first.Missing && !wrong.Missing {
			first = wrong
		}
	}
	return nil, first
}

const entry = "vkGetInstanceProcAddr" // of a loader

// noEntry is the error of a library that is none.
var noEntry = &NoLoader{Reason: "it has no " + entry}
