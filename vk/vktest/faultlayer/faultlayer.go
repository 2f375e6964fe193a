// Package faultlayer is a Vulkan layer for tests of programs: it lets the n-th call of an entry point fail, and counts calls. It is written in
// C and compiled by the test; the loader puts it between a program and its driver by variables of the environment.
package faultlayer

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

//go:embed layer.c
var source []byte

// Layer is a compiled one.
type Layer struct{ dir string }

// Build compiles the layer into a folder that goes with the test.
func Build(t testing.TB) Layer {
	t.Helper()
	dir := t.TempDir()
	c, library := filepath.Join(dir, "layer.c"), filepath.Join(dir, "libvkfault.so")
	write(t, c, source)
	// With -fvisibility=hidden the layer's names cannot be mistaken for the loader's.
	run(t, strings.Fields(run(t, "go", "env", "CC"))[0], "-std=gnu11", "-Wall", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden", "-I", headers(t), "-o", library, c)
	write(t, filepath.Join(dir, "vkfault.json"), fmt.Appendf(nil, `{"file_format_version": "1.1.2", "layer": {"name": "VK_LAYER_VKCOME_fault", "type": "INSTANCE",
		"library_path": %q, "api_version": "1.3.0", "implementation_version": "1", "description": "lets calls fail"}}`, library))
	return Layer{dir}
}

// headers is the folder of vulkan/vulkan.h, which comes with the binding.
func headers(t testing.TB) string {
	t.Helper()
	return strings.TrimSpace(run(t, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/vulkan-go/vulkan"))
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

// Fault says which call fails and how. The zero value is none.
type Fault struct {
	Call   string
	At     uint64 // which call of it: 1 is the first
	Result int32  // what it gives
	On     bool   // all later calls fail too
}

func (f Fault) String() string {
	on := ""
	if f.On {
		on = " and on"
	}
	return fmt.Sprintf("%s #%d%s = %d", f.Call, f.At, on, f.Result)
}

// Env is the environment, as in os.Environ, in which a program runs with the layer. Calls are added to the table in
// the file counts, which need not be there.
func (l Layer) Env(environ []string, f Fault, counts string) []string {
	// Mesa's own layer, which is there unasked, takes counts from the stack where a call below it fails.
	env := append(slices.Clone(environ), "NODEVICE_SELECT=1", "VK_LAYER_PATH="+l.dir, "VK_INSTANCE_LAYERS=VK_LAYER_VKCOME_fault", "VKFAULT_COUNTS="+counts)
	if f.Call != "" {
		env = append(env, "VKFAULT_CALL="+f.Call, fmt.Sprint("VKFAULT_AT=", f.At), fmt.Sprint("VKFAULT_RESULT=", f.Result))
	}
	if f.On {
		env = append(env, "VKFAULT_ON=1")
	}
	return env
}

// Count is how often an entry point was called.
type Count struct {
	Call string
	N    uint64
}

// Counts reads a table of counts, in the layer's order.
func Counts(t testing.TB, path string) []Count {
	t.Helper()
	const name, record = 56, 64 // bytes
	raw, err := os.ReadFile(path)
	if err != nil || len(raw)%record != 0 || len(raw) == 0 {
		t.Fatalf("%s: %d bytes, %v: the layer was not loaded", path, len(raw), err)
	}
	var list []Count
	for ; len(raw) > 0; raw = raw[record:] {
		list = append(list, Count{string(bytes.TrimRight(raw[:name], "\x00")), binary.LittleEndian.Uint64(raw[name:])})
	}
	return list
}

// VkResults that calls fail with.
const (
	NotReady           = 1
	Timeout            = 2
	Incomplete         = 5
	OutOfHostMemory    = -1
	OutOfDeviceMemory  = -2
	InitializationFail = -3
	DeviceLost         = -4
	MemoryMapFailed    = -5
	IncompatibleDriver = -9
	TooManyObjects     = -10
	FragmentedPool     = -12
	OutOfPoolMemory    = -1000069000
)

// results are what Vulkan lets each call fail with, where that is more or less than running out of either memory.
var results = map[string][]int32{
	"vkCreateInstance":                     {InitializationFail, OutOfHostMemory, OutOfDeviceMemory, IncompatibleDriver},
	"vkCreateDevice":                       {InitializationFail, OutOfHostMemory, OutOfDeviceMemory, DeviceLost, TooManyObjects},
	"vkEnumeratePhysicalDevices":           {InitializationFail, OutOfHostMemory, OutOfDeviceMemory},
	"vkEnumerateDeviceExtensionProperties": {OutOfHostMemory, OutOfDeviceMemory},
	"vkGetPipelineCacheData":               {OutOfHostMemory, OutOfDeviceMemory, Incomplete},
	"vkDeviceWaitIdle":                     {DeviceLost, OutOfHostMemory, OutOfDeviceMemory},
	"vkAllocateMemory":                     {OutOfDeviceMemory, OutOfHostMemory, TooManyObjects},
	"vkMapMemory":                          {MemoryMapFailed, OutOfHostMemory, OutOfDeviceMemory},
	"vkWaitForFences":                      {DeviceLost, Timeout, OutOfHostMemory, OutOfDeviceMemory},
	"vkResetFences":                        {OutOfDeviceMemory},
	"vkCreateDescriptorPool":               {OutOfDeviceMemory, OutOfHostMemory, FragmentedPool},
	"vkAllocateDescriptorSets":             {OutOfPoolMemory, OutOfHostMemory, OutOfDeviceMemory, FragmentedPool},
	"vkQueueSubmit":                        {DeviceLost, OutOfHostMemory, OutOfDeviceMemory},
	"vkGetQueryPoolResults":                {DeviceLost, OutOfHostMemory, OutOfDeviceMemory, NotReady},
}

// Results are the ways in which a call may fail.
func Results(call string) []int32 {
	if list, ok := results[call]; ok {
		return list
	}
	return []int32{OutOfDeviceMemory, OutOfHostMemory}
}
