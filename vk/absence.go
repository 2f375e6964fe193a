package vk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/printable"
	"github.com/vkcome/vkcome/vk/internal/native"
)

// system is what of the machine says why there is no device, so that a test can be another.
type system struct {
	place
	os     string                     // as runtime.GOOS
	env    func(name string) string   // as os.Getenv
	broken func(library string) error // what is wrong with a library that a driver names, or nil
}

// absence says why an instance could not be made, and what to do about it: there is no loader, there is no driver, or a file that names one is
// broken. The Vulkan loader itself has the same result for all of these.
func (s system) absence(err error) error {
	loader := (*native.NoLoader)(nil)
	switch {
	case errors.As(err, &loader) && loader.Missing:
		return fmt.Errorf("%w: the Vulkan loader is not installed (%w): %s", ErrNoDevice, err, s.install())
	case errors.As(err, &loader):
		return fmt.Errorf("%w: the Vulkan loader is damaged (%w): install it again: %s", ErrNoDevice, err, s.install())
	}
	list, variable := s.manifests()
	var wrong []string
	for _, path := range list {
		if fault := s.fault(path); fault != nil {
			wrong = append(wrong, fault.Error())
		}
	}
	const shown = 3
	if len(wrong) > shown {
		wrong = append(wrong[:shown], fmt.Sprintf("and %d more", len(wrong)-shown))
	}
	faults := strings.Join(wrong, ", ")
	switch {
	case s.env("VK_LOADER_DRIVERS_DISABLE") != "" || s.env("VK_LOADER_DRIVERS_SELECT") != "":
		return fmt.Errorf("%w: the Vulkan loader takes no driver (%w): VK_LOADER_DRIVERS_DISABLE or VK_LOADER_DRIVERS_SELECT leaves some out; unset it", ErrNoDevice, err)
	case variable != "" && faults != "":
		return fmt.Errorf("%w: %s names drivers that cannot be used: %s (%w): correct it, or unset it for the drivers that are installed; one that runs on the CPU comes by: %s", ErrNoDevice, variable, faults, err, s.forCPU())
	case variable != "":
		return fmt.Errorf("%w: the drivers that %s names did not start (%w): correct it, or unset it for the drivers that are installed%s", ErrNoDevice, variable, err, s.locked())
	case len(list) == 0:
		return fmt.Errorf("%w: no Vulkan driver is installed (%w): install the GPU's, or one that runs on the CPU: %s", ErrNoDevice, err, s.forCPU())
	case faults != "":
		return fmt.Errorf("%w: drivers that are installed cannot be used: %s (%w): install them again, or one that runs on the CPU: %s", ErrNoDevice, faults, err, s.forCPU())
	}
	return fmt.Errorf("%w: the drivers that are installed did not start (%w)%s: is the GPU there? For one that runs on the CPU: %s", ErrNoDevice, err, s.locked(), s.forCPU())
}

// manifests are the files that name drivers, and the variable that says which they are, "" where the system's folders do.
func (s system) manifests() (list []string, variable string) {
	for _, name := range []string{"VK_DRIVER_FILES", "VK_ICD_FILENAMES"} { // the first is the loader's choice where both are set
		if value := s.env(name); value != "" {
			for _, path := range filepath.SplitList(value) {
				if found, err := filepath.Glob(filepath.Join(path, "*.json")); err == nil && len(found) > 0 {
					list = append(list, found...) // of a folder
				} else if path != "" {
					list = append(list, path)
				}
			}
			return list, name
		}
	}
	return s.installed(), ""
}

const maxManifest = 1 << 20 // bytes; they have some 200

// fault is what is wrong with a file that names a driver, or with the driver, nil if nothing is known.
func (s system) fault(path string) error {
	raw, err := files.Read(path, maxManifest)
	if err != nil {
		return short(path, err)
	}
	var manifest struct {
		ICD struct {
			Library string `json:"library_path"`
		}
	}
	if err := files.JSON(raw, &manifest); err != nil {
		return fmt.Errorf("%s is no driver's file: %w", path, err)
	}
	library := manifest.ICD.Library
	switch {
	case library == "":
		return fmt.Errorf("%s names no library (ICD.library_path)", path)
	case filepath.Base(library) != library && !filepath.IsAbs(library):
		library = filepath.Join(filepath.Dir(path), library)
	}
	if err := s.broken(library); err != nil {
		return fmt.Errorf("%s names a library that does not load: %s", path, printable.Clip(err.Error(), 300))
	}
	return nil
}

// short is an error of a path that has it once.
func short(path string, err error) error {
	if of := (*os.PathError)(nil); errors.As(err, &of) {
		return fmt.Errorf("%s: %w", path, of.Err)
	}
	return err
}
