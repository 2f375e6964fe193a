//go:build unix

package vk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/files"
)

// place is where the system's own files are: root stands before their paths, and is "" outside of tests.
type place struct{ root string }

// installed are the files in the system's folders that name drivers.
func (s system) installed() (list []string) {
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
	return list
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

// forCPU is what to install for a driver that runs on the CPU.
func (s system) forCPU() string { return s.install() }
