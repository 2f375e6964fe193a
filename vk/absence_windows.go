package vk

import (
	"cmp"
	"slices"

	"golang.org/x/sys/windows/registry"
)

// displays is the key below which each display adapter has one of its own, where its driver says what it brings for Vulkan.
const displays = `SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}`

// place is where the system says what drivers it has: the key of the display adapters, in a test another; "" is displays.
type place struct{ adapters string }

// installed are the files that the registry names as those of drivers.
func (s system) installed() (list []string) {
	for _, root := range []registry.Key{registry.LOCAL_MACHINE, registry.CURRENT_USER} {
		list = append(list, registered(root)...)
	}
	above := cmp.Or(s.adapters, displays)
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, above, registry.ENUMERATE_SUB_KEYS)
	if err != nil {
		return list
	}
	defer key.Close() // nothing was written to it
	adapters, err := key.ReadSubKeyNames(-1)
	if err != nil {
		return list
	}
	for _, adapter := range adapters {
		for _, path := range driverOf(above + `\` + adapter) {
			if !slices.Contains(list, path) {
				list = append(list, path)
			}
		}
	}
	return list
}

// registered are the names of the values of the key that installers of drivers write to; one whose number is not 0 is turned off.
func registered(root registry.Key) (list []string) {
	key, err := registry.OpenKey(root, `SOFTWARE\Khronos\Vulkan\Drivers`, registry.QUERY_VALUE)
	if err != nil {
		return nil
	}
	defer key.Close() // nothing was written to it
	names, err := key.ReadValueNames(-1)
	if err != nil {
		return nil
	}
	for _, name := range names {
		if off, _, err := key.GetIntegerValue(name); err == nil && off == 0 {
			list = append(list, name)
		}
	}
	return list
}

// driverOf is what a display adapter's driver brings: one file, or several.
func driverOf(path string) []string {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE)
	if err != nil {
		return nil // also where only the system may look
	}
	defer key.Close() // nothing was written to it
	if one, _, err := key.GetStringValue("VulkanDriverName"); err == nil {
		return []string{one}
	}
	several, _, err := key.GetStringsValue("VulkanDriverName")
	if err != nil {
		return nil
	}
	return several
}

// locked says whether the user may not use a GPU that is there; Windows keeps none from a user.
func (s system) locked() string { return "" }

// install is what to install.
func (s system) install() string {
	return "install the current driver of the GPU from its maker, which brings the loader (vulkan-1.dll)"
}

// forCPU is what to install for a driver that runs on the CPU: builds of Mesa 26.0 crash in compute kernels, 25.3.5 does not (mmozeiko/build-mesa issue 20).
func (s system) forCPU() string {
	return "lavapipe of Mesa 25.3 for Windows, whose lvp_icd.x86_64.json VK_DRIVER_FILES is to name"
}
