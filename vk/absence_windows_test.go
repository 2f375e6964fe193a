package vk

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk/internal/native"
)

// TestAbsence: the error says what Windows lacks, and names no package of another system.
func TestAbsence(t *testing.T) {
	env := map[string]string{}
	s := system{os: "windows", env: func(name string) string { return env[name] }, broken: native.LibraryError}
	check := func(what string, err error, wants ...string) {
		t.Helper()
		got := s.absence(err)
		if !errors.Is(got, ErrNoDevice) || strings.Contains(got.Error(), "\n") || strings.Contains(got.Error(), "apt ") || strings.Contains(got.Error(), "libvulkan") {
			t.Errorf("%s: %v", what, got)
		}
		for _, want := range wants {
			if !strings.Contains(got.Error(), want) {
				t.Errorf("%s: %v\nwant %q", what, got, want)
			}
		}
	}
	check("no loader", &native.NoLoader{Reason: "vulkan-1.dll: The specified module could not be found.", Missing: true}, "the Vulkan loader is not installed", "driver of the GPU")
	none := native.Result(-9) // VK_ERROR_INCOMPATIBLE_DRIVER
	check("the drivers of the registry", none)
	s.adapters = `SOFTWARE\no such key`
	check("no display adapters", none)
	missing := filepath.Join(t.TempDir(), "none.json")
	env["VK_DRIVER_FILES"] = missing
	check("a file that is not there", none, "VK_DRIVER_FILES names drivers that cannot be used", missing, "lavapipe")
}
