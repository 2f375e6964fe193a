package vk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/printable"
	"github.com/vkcome/vkcome/vk/internal/native"
)

// system is what of the machine says why there is no device, so that a test can be another.
type system struct {
	os     string                     // as runtime.GOOS
	env    func(name string) string   // as os.Getenv
	root   string                     // before the paths of the system's own files; "" outside of tests
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
		return fmt.Errorf("%w: %s names drivers that cannot be used: %s (%w): correct it, or unset it for the drivers that are installed; one that runs on the CPU comes by: %s", ErrNoDevice, variable, faults, err, s.install())
	case variable != "":
		return fmt.Errorf("%w: the drivers that %s names did not start (%w): correct it, or unset it for the drivers that are installed%s", ErrNoDevice, variable, err, s.locked())
	case len(list) == 0:
		return fmt.Errorf("%w: no Vulkan driver is installed (%w): install the GPU's, or one that runs on the CPU: %s", ErrNoDevice, err, s.install())
	case faults != "":
		return fmt.Errorf("%w: drivers that are installed cannot be used: %s (%w): install them again, or one that runs on the CPU: %s", ErrNoDevice, faults, err, s.install())
	}
	return fmt.Errorf("%w: the drivers that are installed did not start (%w)%s: is the GPU there? For one that runs on the CPU: %s", ErrNoDevice, err, s.locked(), s.install())
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
	home := s.env("HOME")
	folders := []string{s.env("XDG_CONFIG_HOME"), filepath.Join(home, ".config")}
	for _, dirs := range []string{s.env("XDG_CONFIG_DIRS"), s.root + "/etc/xdg", s.root + "/etc", s.env("XDG_DATA_HOME"), filepath.Join(home, ".local/share"), s.env("XDG_DATA_DIRS")} {
		folders = append(folders, filepath.SplitList(dirs)...)
	}
	folders = append(folders, s.root+"/usr/local/share", s.root+"/usr/share", s.root+"/usr/local/etc", s.root+"/opt/homebrew/share", s.root+"/opt/homebrew/etc")
	for _, dir := range folders {
		if !filepath.IsAbs(dir) {
			continue
		}
		found, err := filepath.Glob(filepath.Join(dir, "vulkan/icd.d/*.json"))
		if err != nil {
			continue // a folder whose name is a pattern
		}
		for _, path := range found {
			if !slices.Contains(list, path) {
				list = append(list, path)
			}
		}
	}
	return list, ""
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
	case strings.ContainsRune(library, filepath.Separator) && !filepath.IsAbs(library):
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

// locked says whether the user may not use a GPU that is there.
func (s system) locked() string {
	nodes, err := filepath.Glob(s.root + "/dev/dri/renderD*")
	if err != nil {
		return ""
	}
	for _, node := range nodes {
		f, err := os.OpenFile(node, os.O_RDWR, 0)
		if errors.Is(err, os.ErrPermission) {
			return fmt.Sprintf("; %s may not be opened: be in its group, render as a rule", node)
		}
		if err == nil {
			f.Close() // nothing was written to it
		}
	}
	return ""
}

// installs are the commands that install a loader and a driver for the CPU, by what /etc/os-release calls a system.
var installs = []struct{ ids, command string }{
	{"debian ubuntu", "apt install libvulkan1 mesa-vulkan-drivers"},
	{"fedora rhel centos", "dnf install vulkan-loader mesa-vulkan-drivers"},
	{"arch", "pacman -S vulkan-icd-loader vulkan-swrast"},
	{"suse opensuse", "zypper install libvulkan1 libvulkan_lvp"},
	{"alpine", "apk add vulkan-loader mesa-vulkan-swrast"},
}

// install is what to install, by the name of the system where it is known.
func (s system) install() string {
	if s.os == "darwin" {
		return "brew install vulkan-loader molten-vk"
	}
	raw, err := files.Read(s.root+"/etc/os-release", maxManifest)
	if err == nil {
		var ids []string
		for line := range strings.Lines(string(raw)) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name == "ID" || name == "ID_LIKE" {
				ids = append(ids, strings.Fields(strings.Trim(value, `"'`))...)
			}
		}
		for _, id := range ids {
			for _, known := range installs {
				if slices.Contains(strings.Fields(known.ids), id) {
					return known.command
				}
			}
		}
	}
	return "libvulkan1 and mesa-vulkan-drivers on Debian and Ubuntu, vulkan-loader and mesa-vulkan-drivers on Fedora, vulkan-icd-loader and vulkan-swrast on Arch"
}
