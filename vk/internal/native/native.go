// Package native is the only room of vkcome with unsafe in it: the Vulkan loader, the calls of the vulkan-go binding, and the
// C thunks for calls that the binding cannot make safely. It holds no policy; package vk does.
//
// Every struct handed to the binding is freed with Free after the call, never before: that both returns its C copy and keeps
// the copy alive while the call runs (the binding frees copies from finalizers).
package native

/*
#include <stdlib.h>
#include "thunks.h"

#ifdef __clang__
static const char *vkcome_compiler(void) { return "clang " __clang_version__; }
#else
static const char *vkcome_compiler(void) { return "gcc " __VERSION__; }
#endif
*/
import "C"

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/vulkan-go/vulkan"
)

// Compiler is the C compiler that compiled this package, with its version.
func Compiler() string { return strings.TrimSpace(C.GoString(C.vkcome_compiler())) }

// Result is a VkResult other than VK_SUCCESS, as an error.
type Result int32

// The results that callers tell apart.
const (
	Timeout              Result = 2
	OutOfHostMemory      Result = -1
	OutOfDeviceMemory    Result = -2
	DeviceLost           Result = -4
	LayerNotPresent      Result = -6
	extensionNotPresent         = -7
	initializationFailed Result = -3
)

var resultNames = map[Result]string{
	1: "VK_NOT_READY", 2: "VK_TIMEOUT", -1: "VK_ERROR_OUT_OF_HOST_MEMORY", -2: "VK_ERROR_OUT_OF_DEVICE_MEMORY", -3: "VK_ERROR_INITIALIZATION_FAILED",
	-4: "VK_ERROR_DEVICE_LOST", -5: "VK_ERROR_MEMORY_MAP_FAILED", -6: "VK_ERROR_LAYER_NOT_PRESENT", -7: "VK_ERROR_EXTENSION_NOT_PRESENT",
	-8: "VK_ERROR_FEATURE_NOT_PRESENT", -9: "VK_ERROR_INCOMPATIBLE_DRIVER", -10: "VK_ERROR_TOO_MANY_OBJECTS", -1000069000: "VK_ERROR_OUT_OF_POOL_MEMORY",
}

func (r Result) Error() string {
	if name, ok := resultNames[r]; ok {
		return name
	}
	return fmt.Sprintf("VkResult %d", int32(r))
}

func check[T ~int32](r T) error {
	if r == 0 {
		return nil
	}
	return Result(r)
}

// Handles of non-dispatchable objects.
type (
	Buffer   uint64
	Memory   uint64
	Pipeline uint64
	Fence    uint64
)

// Instance is a VkInstance and what it enumerated.
type Instance struct {
	handle    vulkan.Instance
	messenger C.uint64_t
	hung      atomic.Bool // a submission to one of its devices does not end
	Physical  []*PhysicalDevice
}

// NewInstance creates an instance, with the Khronos validation layer and synchronization validation if validate is set. matrices says
// of a device, which knows all but those yet, whether it may be asked for its cooperative matrices.
func NewInstance(validate bool, matrices func(*PhysicalDevice) bool) (*Instance, error) {
	if err := loadLibrary(); err != nil {
		return nil, err
	}
	app := vulkan.ApplicationInfo{SType: vulkan.StructureTypeApplicationInfo, PApplicationName: "vkcome\x00", PEngineName: "vkcome\x00", ApiVersion: uint32(vulkan.MakeVersion(1, 3, 0))}
	var extensions []string
	info := vulkan.InstanceCreateInfo{SType: vulkan.StructureTypeInstanceCreateInfo, PApplicationInfo: &app}
	if validate {
		// Layers such as 1.4.309 leave out what shaders read and write unless told; older ones pass the variable over.
		if name := "VK_LAYER_SYNCVAL_SHADER_ACCESSES_HEURISTIC"; os.Getenv(name) == "" {
			os.Setenv(name, "1")
		}
		info.EnabledLayerCount, info.PpEnabledLayerNames = 1, []string{"VK_LAYER_KHRONOS_validation\x00"}
		extensions = append(extensions, "VK_EXT_debug_report\x00")
		info.PNext = unsafe.Pointer(C.vkc_validation_features())
	}
	// A loader hides drivers that are a part of Vulkan alone, as MoltenVK is, from who does not ask for them; one that is older than that
	// shows them, and does not know the extension.
	handle, result := createInstance(info, append(slices.Clone(extensions), "VK_KHR_portability_enumeration\x00"), enumeratePortability)
	if result == extensionNotPresent {
		handle, result = createInstance(info, extensions, 0)
	}
	app.Free()
	if err := check(result); err != nil {
		return nil, err
	}
	i := &Instance{handle: handle}
	if err := vulkan.InitInstance(handle); err != nil {
		i.Close()
		return nil, err
	}
	if validate {
		if err := check(C.vkc_create_messenger(i.raw(), &i.messenger)); err != nil {
			i.Close()
			return nil, err
		}
	}
	if err := i.enumerate(matrices); err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// enumeratePortability is VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR.
const enumeratePortability = 1

func createInstance(info vulkan.InstanceCreateInfo, extensions []string, flags vulkan.InstanceCreateFlags) (handle vulkan.Instance, result vulkan.Result) {
	info.Flags, info.EnabledExtensionCount, info.PpEnabledExtensionNames = flags, uint32(len(extensions)), extensions
	result = vulkan.CreateInstance(&info, nil, &handle)
	info.Free()
	return handle, result
}

func (i *Instance) raw() unsafe.Pointer { return unsafe.Pointer(i.handle) }

// Close destroys the instance; its devices must be closed before. One with a device that was abandoned stays: the loader would unload the driver,
// whose threads may still run (lavapipe: a segmentation fault in a third of such ends).
func (i *Instance) Close() {
	if i.hung.Load() {
		return
	}
	if i.messenger != 0 {
		C.vkc_destroy_messenger(i.raw(), i.messenger)
	}
	vulkan.DestroyInstance(i.handle, nil)
}

// TakeMessages returns the validation messages since the last call.
func TakeMessages() []string {
	var out []string
	for {
		c := C.vkc_take_message()
		if c == nil {
			return out
		}
		out = append(out, C.GoString(c))
		C.free(unsafe.Pointer(c))
	}
}

// DeviceType is a VkPhysicalDeviceType.
type DeviceType uint32

// Device types in Vulkan's numbering.
const (
	Other DeviceType = iota
	Integrated
	Discrete
	Virtual
	CPU
)

// QueueFamily is what one family of queues can do.
type QueueFamily struct {
	Compute, Graphics, Transfer bool
	Count                       uint32
	TimestampBits               uint32 // 0: no timestamps
}

// MemoryType is one way to allocate memory.
type MemoryType struct {
	DeviceLocal, HostVisible, HostCoherent, HostCached bool
	Heap                                               uint32
}

// CoopShape is a product of subgroup matrices, [M, K] · [K, N] + [M, N]. Input and Sum are VkComponentTypeKHR.
type CoopShape struct{ M, N, K, Input, Sum uint32 }

// PhysicalDevice is what a device says of itself.
type PhysicalDevice struct {
	handle                             vulkan.PhysicalDevice
	instance                           *Instance
	Name, DriverName, DriverInfo       string
	Type                               DeviceType
	Vendor, Device, DriverVersion      uint32
	APIVersion                         uint32
	UUID, CacheUUID                    [16]byte
	SubgroupSize                       uint32
	SubgroupStages, SubgroupOperations uint32
	Float16, Storage16, CoopMatrix     bool
	MatrixReductions                   bool // with conversions and operations on elements, of VK_NV_cooperative_matrix2
	BufferAddress, Int64, Reports      bool
	SubgroupMin                        uint32 // smallest subgroup that a pipeline can ask for, or the one that there is; 0 where none can be asked for to be full
	Shapes                             []CoopShape
	facts                              C.vkc_facts

	MaxStorageRange, MaxPushBytes, MaxInvocations, MaxSharedBytes, MaxAllocations uint32
	MaxWorkgroupSize, MaxWorkgroupCount                                           [3]uint32
	MaxAllocationBytes, OffsetAlignment, TexelAlignment                           uint64
	MaxTexels                                                                     uint32
	TimestampPeriod                                                               float32 // ns of a tick
	MaxStorageBuffers                                                             uint32

	Queues []QueueFamily
	Memory []MemoryType
	Heaps  []uint64
}

func (i *Instance) enumerate(matrices func(*PhysicalDevice) bool) error {
	var n uint32
	if err := check(vulkan.EnumeratePhysicalDevices(i.handle, &n, nil)); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	handles := make([]vulkan.PhysicalDevice, n)
	if err := check(vulkan.EnumeratePhysicalDevices(i.handle, &n, handles)); err != nil {
		return err
	}
	for _, h := range handles[:n] {
		p, err := i.describe(h)
		if err != nil {
			return err
		}
		if err := p.queryMatrices(matrices(p)); err != nil {
			return err
		}
		i.Physical = append(i.Physical, p)
	}
	return nil
}

func (i *Instance) describe(h vulkan.PhysicalDevice) (*PhysicalDevice, error) {
	var props vulkan.PhysicalDeviceProperties
	vulkan.GetPhysicalDeviceProperties(h, &props)
	defer props.Free()
	props.Deref()
	props.Limits.Deref()
	defer props.Limits.Free()
	l := props.Limits
	p := &PhysicalDevice{
		handle: h, instance: i, Name: text(props.DeviceName[:]), Type: DeviceType(props.DeviceType),
		Vendor: props.VendorID, Device: props.DeviceID, DriverVersion: props.DriverVersion, APIVersion: props.ApiVersion, CacheUUID: props.PipelineCacheUUID,
		MaxStorageRange: l.MaxStorageBufferRange, MaxPushBytes: l.MaxPushConstantsSize, MaxInvocations: l.MaxComputeWorkGroupInvocations,
		MaxSharedBytes: l.MaxComputeSharedMemorySize, MaxAllocations: l.MaxMemoryAllocationCount, MaxWorkgroupSize: l.MaxComputeWorkGroupSize,
		MaxWorkgroupCount: l.MaxComputeWorkGroupCount, OffsetAlignment: uint64(l.MinStorageBufferOffsetAlignment),
		MaxStorageBuffers: l.MaxPerStageDescriptorStorageBuffers, TimestampPeriod: l.TimestampPeriod, MaxTexels: l.MaxTexelBufferElements, TexelAlignment: uint64(l.MinTexelBufferOffsetAlignment),
	}
	var facts C.vkc_facts
	if err := check(C.vkc_query(&facts, i.raw(), unsafe.Pointer(h))); err != nil {
		return nil, err
	}
	for b := range p.UUID {
		p.UUID[b] = byte(facts.uuid[b])
	}
	p.SubgroupSize, p.SubgroupStages, p.SubgroupOperations = uint32(facts.subgroup_size), uint32(facts.subgroup_stages), uint32(facts.subgroup_operations)
	p.MaxAllocationBytes = uint64(facts.max_allocation)
	p.DriverName, p.DriverInfo = C.GoString(&facts.driver_name[0]), C.GoString(&facts.driver_info[0])
	p.Float16, p.Storage16 = facts.float16 != 0, facts.storage16 != 0
	p.BufferAddress, p.Int64, p.SubgroupMin = facts.buffer_address != 0, facts.int64 != 0, uint32(facts.subgroup_min)
	p.Reports = facts.executable_properties != 0
	p.facts = facts

	for _, q := range facts.queues[:facts.nqueues] {
		f := vulkan.QueueFlagBits(q.flags)
		p.Queues = append(p.Queues, QueueFamily{Compute: f&vulkan.QueueComputeBit != 0, Graphics: f&vulkan.QueueGraphicsBit != 0, Transfer: f&vulkan.QueueTransferBit != 0, Count: uint32(q.count), TimestampBits: uint32(q.timestamp_bits)})
	}
	var memory vulkan.PhysicalDeviceMemoryProperties
	vulkan.GetPhysicalDeviceMemoryProperties(h, &memory)
	defer memory.Free()
	memory.Deref()
	for k := range memory.MemoryTypeCount {
		t := memory.MemoryTypes[k]
		t.Deref()
		f := vulkan.MemoryPropertyFlagBits(t.PropertyFlags)
		p.Memory = append(p.Memory, MemoryType{
			DeviceLocal: f&vulkan.MemoryPropertyDeviceLocalBit != 0, HostVisible: f&vulkan.MemoryPropertyHostVisibleBit != 0,
			HostCoherent: f&vulkan.MemoryPropertyHostCoherentBit != 0, HostCached: f&vulkan.MemoryPropertyHostCachedBit != 0, Heap: t.HeapIndex,
		})
		t.Free()
	}
	for k := range memory.MemoryHeapCount {
		heap := memory.MemoryHeaps[k]
		heap.Deref()
		p.Heaps = append(p.Heaps, uint64(heap.Size))
		heap.Free()
	}
	return p, nil
}

// queryMatrices asks the device for its cooperative matrices, or takes it for one that has none.
func (p *PhysicalDevice) queryMatrices(ask bool) error {
	f := &p.facts
	if !ask {
		f.cooperative_matrix, f.matrix_reductions = 0, 0
	}
	if f.cooperative_matrix == 0 {
		return nil
	}
	if err := check(C.vkc_query_shapes(f, p.instance.raw(), unsafe.Pointer(p.handle))); err != nil {
		return err
	}
	p.CoopMatrix, p.MatrixReductions = true, f.matrix_reductions != 0
	for _, s := range f.shapes[:f.nshapes] {
		p.Shapes = append(p.Shapes, CoopShape{uint32(s.m), uint32(s.n), uint32(s.k), uint32(s.input), uint32(s.sum)})
	}
	return nil
}

func text(raw []byte) string {
	if i := bytes.IndexByte(raw, 0); i >= 0 {
		raw = raw[:i]
	}
	return string(raw)
}
