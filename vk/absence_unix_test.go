//go:build unix

package vk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk/internal/native"
)

// TestAbsence: the error says what is wrong, of the loader, of a variable, of a file or of a driver, and what to do on this system.
func TestAbsence(t *testing.T) {
	root, set := t.TempDir(), t.TempDir()
	write := func(path, text string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write(filepath.Join(set, "good.json"), `{"ICD":{"library_path":"libgood.so"}}`)
	bad := map[string]string{
		"no such file or directory":            filepath.Join(set, "none.json"),
		"byte 1: unexpected end":               write(filepath.Join(set, "cut.json"), `{`),
		"a list, expected an object":           write(filepath.Join(set, "list.json"), `[]`),
		"names no library (ICD.library_path)":  write(filepath.Join(set, "empty.json"), `{}`),
		"a whole number":                       "",
		"libnone.so: cannot open":              write(filepath.Join(set, "nolib.json"), `{"ICD":{"library_path":"libnone.so"}}`),
		filepath.Join(set, "sub/x.so"):         write(filepath.Join(set, "relative.json"), `{"ICD":{"library_path":"./sub/x.so"}}`),
		"is a device, expected a regular file": "/dev/zero",
		"a number, expected a text":            write(filepath.Join(set, "number.json"), `{"ICD":{"library_path":1}}`),
		"is a folder, expected a file":         filepath.Join(set, "folder"),
		"expected at most 1.0 MiB":             write(filepath.Join(set, "large.json"), strings.Repeat(" ", 2<<20)),
	}
	delete(bad, "a whole number")
	if err := os.Mkdir(filepath.Join(set, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	s := system{os: "linux", place: place{root}, env: func(name string) string { return env[name] }, broken: func(library string) error {
		if library == "libgood.so" {
			return nil
		}
		return fmt.Errorf("%s: cannot open shared object file", library)
	}}
	check := func(what string, err error, wants ...string) {
		t.Helper()
		got := s.absence(err)
		if !errors.Is(got, ErrNoDevice) || strings.Contains(got.Error(), "\n") || len(got.Error()) > 2000 {
			t.Errorf("%s: %v", what, got)
		}
		for _, want := range wants {
			if !strings.Contains(got.Error(), want) {
				t.Errorf("%s: %v\nwant %q", what, got, want)
			}
		}
	}
	none := native.Result(-9) // VK_ERROR_INCOMPATIBLE_DRIVER
	missing := &native.NoLoader{Reason: "libvulkan.so.1: cannot open shared object file: No such file or directory", Missing: true}
	check("unknown system", missing, "the Vulkan loader is not installed", "libvulkan.so.1", "on Debian", "on Fedora", "on Arch")
	for id, want := range map[string]string{"debian": "apt install", "ubuntu": "apt install libvulkan1", "fedora": "dnf install vulkan-loader", "arch": "pacman -S", `"opensuse-leap"` + "\nID_LIKE=\"suse opensuse\"": "zypper install", "alpine": "apk add", "linuxmint\nID_LIKE=\"ubuntu debian\"": "apt install"} {
		write(filepath.Join(root, "etc/os-release"), "NAME=x\nID="+id+"\n")
		check(id, missing, want)
		check(id, none, "no Vulkan driver is installed", want)
	}
	check("damaged", &native.NoLoader{Reason: "libvulkan.so.1: file too short"}, "the Vulkan loader is damaged", "file too short")
	for _, variable := range []string{"VK_ICD_FILENAMES", "VK_DRIVER_FILES"} {
		for want, path := range bad {
			env[variable] = path
			check(variable, none, variable+" names drivers that cannot be used", path, want, "unset it")
			env[variable] = good + string(filepath.ListSeparator) + path
			check(variable+" and a good one", native.OutOfHostMemory, variable, path, want, "VK_ERROR_OUT_OF_HOST_MEMORY")
		}
		env[variable] = good
		check(variable+", which is good", none, "the drivers that "+variable+" names did not start")
	}
	delete(env, "VK_DRIVER_FILES")
	delete(env, "VK_ICD_FILENAMES")
	installed := write(filepath.Join(root, "usr/share/vulkan/icd.d/a.json"), `{"ICD":{"library_path":"libnone.so"}}`)
	check("installed and broken", none, "drivers that are installed cannot be used", installed, "libnone.so: cannot open")
	write(installed, `{"ICD":{"library_path":"libgood.so"}}`)
	check("installed", native.Result(-3), "did not start", "VK_ERROR_INITIALIZATION_FAILED", "is the GPU there?")
	env["VK_LOADER_DRIVERS_DISABLE"] = "*"
	check("left out", none, "VK_LOADER_DRIVERS_DISABLE")
	s.os = "darwin"
	check("macOS", missing, "brew install")
}
