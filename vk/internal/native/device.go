package native

/*
#include <stdlib.h>
#include "thunks.h"
*/
import "C"

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"github.com/vulkan-go/vulkan"
)

// MaxBindings is the most buffers a kernel may have, MaxTexels how many of them may be texel buffers; MaxPushWords the most 32-bit push constants (128 bytes is what every device has).
const (
	MaxBindings  = 16
	MaxTexels    = 4 // of the bindings
	MaxPushWords = 32
)

// Device is a VkDevice with one queue of each family asked for.
type Device struct {
	instance       *Instance
	handle         vulkan.Device
	table          C.vkc_table
	queues         []vulkan.Queue
	family         []uint32
	cache          vulkan.PipelineCache
	layouts        map[Bindings]*layout
	address        bool          // buffers have device addresses
	reports        bool          // pipelines are reported on, and not cached
	fixedSubgroups bool          // all subgroups have one size, which cannot be asked for
	freed          atomic.Uint64 // allocations so far
	hung           atomic.Bool   // a submission does not end
}

// Bindings are those of a kernel: 0 to N−1, storage buffers but for those whose bit is set in Texels, which are storage texel buffers.
type Bindings struct {
	N      int
	Texels uint32
}

type layout struct {
	set      vulkan.DescriptorSetLayout
	pipeline vulkan.PipelineLayout
}

// NewDevice creates a device with one queue in each of the families, and a pipeline cache that starts from cacheData (empty: new).
// With addresses, which the physical device must have, its buffers have device addresses.
func NewDevice(p *PhysicalDevice, families []uint32, addresses, reports bool, cacheData []byte) (*Device, error) {
	d := &Device{instance: p.instance, family: families, layouts: map[Bindings]*layout{}, address: addresses, reports: reports, fixedSubgroups: p.facts.subgroup_fixed != 0}
	queues := make([]vulkan.DeviceQueueCreateInfo, len(families))
	for k, f := range families {
		queues[k] = vulkan.DeviceQueueCreateInfo{SType: vulkan.StructureTypeDeviceQueueCreateInfo, QueueFamilyIndex: f, QueueCount: 1, PQueuePriorities: []float32{1}}
	}
	withAddresses := C.int(0)
	if addresses {
		withAddresses = 1
	}
	withReports := C.int(0)
	if reports {
		withReports = 1
	}
	features := C.vkc_device_features(&p.facts, withAddresses, withReports)
	if features == nil {
		return nil, OutOfHostMemory
	}
	defer C.free(features)
	var extensions []string
	if p.CoopMatrix {
		extensions = append(extensions, "VK_KHR_cooperative_matrix\x00")
	}
	if p.MatrixReductions {
		extensions = append(extensions, "VK_NV_cooperative_matrix2\x00")
	}
	if p.facts.control_extension != 0 && p.SubgroupMin > 0 {
		extensions = append(extensions, "VK_EXT_subgroup_size_control\x00")
	}
	if p.facts.portability_subset != 0 { // Vulkan wants it of every program; none of what is missing there is for compute
		extensions = append(extensions, "VK_KHR_portability_subset\x00")
	}
	if reports {
		extensions = append(extensions, "VK_KHR_pipeline_executable_properties\x00")
	}
	info := vulkan.DeviceCreateInfo{
		SType: vulkan.StructureTypeDeviceCreateInfo, PNext: features, QueueCreateInfoCount: uint32(len(queues)), PQueueCreateInfos: queues,
		EnabledExtensionCount: uint32(len(extensions)), PpEnabledExtensionNames: extensions,
	}
	var handle vulkan.Device
	result := vulkan.CreateDevice(p.handle, &info, nil, &handle)
	info.Free()
	for k := range queues {
		queues[k].Free()
	}
	if err := check(result); err != nil {
		return nil, err
	}
	d.handle = handle
	if C.vkc_load_table(&d.table, p.instance.raw(), d.raw()) == 0 {
		d.Close()
		return nil, errors.New("the driver lacks a Vulkan 1.1 entry point")
	}
	for _, f := range families {
		var q vulkan.Queue
		vulkan.GetDeviceQueue(d.handle, f, 0, &q)
		d.queues = append(d.queues, q)
	}
	if err := d.newCache(cacheData); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *Device) raw() unsafe.Pointer { return unsafe.Pointer(d.handle) }

func (d *Device) newCache(data []byte) error {
	info := vulkan.PipelineCacheCreateInfo{SType: vulkan.StructureTypePipelineCacheCreateInfo, InitialDataSize: uint(len(data))}
	if len(data) > 0 {
		c := C.CBytes(data)
		defer C.free(c)
		info.PInitialData = c
	}
	var cache vulkan.PipelineCache
	result := vulkan.CreatePipelineCache(d.handle, &info, nil, &cache)
	info.Free()
	d.cache = cache
	return check(result)
}

// CacheData returns the pipeline cache's contents.
func (d *Device) CacheData() ([]byte, error) {
	var n uint
	if err := check(vulkan.GetPipelineCacheData(d.handle, d.cache, &n, nil)); err != nil || n == 0 {
		return nil, err
	}
	c := C.malloc(C.size_t(n))
	defer C.free(c)
	if err := check(vulkan.GetPipelineCacheData(d.handle, d.cache, &n, c)); err != nil {
		return nil, err
	}
	return C.GoBytes(c, C.int(n)), nil
}

// Close waits for the device and destroys it with its layouts and cache; all else must be destroyed before.
func (d *Device) Close() {
	if d.hung.Load() {
		return
	}
	vulkan.DeviceWaitIdle(d.handle)
	for _, l := range d.layouts {
		if l.pipeline != nil {
			vulkan.DestroyPipelineLayout(d.handle, l.pipeline, nil)
		}
		if l.set != nil {
			vulkan.DestroyDescriptorSetLayout(d.handle, l.set, nil)
		}
	}
	if d.cache != nil {
		vulkan.DestroyPipelineCache(d.handle, d.cache, nil)
	}
	vulkan.DestroyDevice(d.handle, nil)
}

// Layout returns the pipeline and set layouts of a kernel with 128 bytes of push constants, making them once.
func (d *Device) Layout(b Bindings) (pipeline, set uint64, err error) {
	l := d.layouts[b]
	if l == nil {
		l = &layout{}
		d.layouts[b] = l
	}
	if l.pipeline != nil {
		return handle(unsafe.Pointer(l.pipeline)), handle(unsafe.Pointer(l.set)), nil
	}
	bindings := make([]vulkan.DescriptorSetLayoutBinding, b.N)
	for k := range bindings {
		kind := vulkan.DescriptorTypeStorageBuffer
		if b.Texels>>k&1 != 0 {
			kind = vulkan.DescriptorTypeStorageTexelBuffer
		}
		bindings[k] = vulkan.DescriptorSetLayoutBinding{Binding: uint32(k), DescriptorType: kind, DescriptorCount: 1, StageFlags: vulkan.ShaderStageFlags(vulkan.ShaderStageComputeBit)}
	}
	setInfo := vulkan.DescriptorSetLayoutCreateInfo{SType: vulkan.StructureTypeDescriptorSetLayoutCreateInfo, BindingCount: uint32(b.N), PBindings: bindings}
	var setLayout vulkan.DescriptorSetLayout
	result := vulkan.CreateDescriptorSetLayout(d.handle, &setInfo, nil, &setLayout)
	setInfo.Free()
	if err := check(result); err != nil {
		return 0, 0, err
	}
	l.set = setLayout
	info := vulkan.PipelineLayoutCreateInfo{
		SType: vulkan.StructureTypePipelineLayoutCreateInfo, SetLayoutCount: 1, PSetLayouts: []vulkan.DescriptorSetLayout{setLayout},
		PushConstantRangeCount: 1, PPushConstantRanges: []vulkan.PushConstantRange{{StageFlags: vulkan.ShaderStageFlags(vulkan.ShaderStageComputeBit), Size: 4 * MaxPushWords}},
	}
	var layout vulkan.PipelineLayout
	result = vulkan.CreatePipelineLayout(d.handle, &info, nil, &layout)
	info.Free()
	if err := check(result); err != nil {
		return 0, 0, err
	}
	l.pipeline = layout
	return handle(unsafe.Pointer(layout)), handle(unsafe.Pointer(setLayout)), nil
}

func handle(h unsafe.Pointer) uint64 { return uint64(uintptr(h)) }

// NewPipeline compiles SPIR-V words into a compute pipeline for kernels with the given bindings; spec[i] is specialization constant
// ids[i]. Its subgroups have the given size and are full, unless that is 0.
func (d *Device) NewPipeline(spirv []uint32, bindings Bindings, ids, spec []uint32, subgroup int) (Pipeline, error) {
	layout, _, err := d.Layout(bindings)
	if err != nil {
		return 0, err
	}
	info := vulkan.ShaderModuleCreateInfo{SType: vulkan.StructureTypeShaderModuleCreateInfo, CodeSize: uint(4 * len(spirv)), PCode: spirv}
	var module vulkan.ShaderModule
	result := vulkan.CreateShaderModule(d.handle, &info, nil, &module)
	info.Free()
	if err := check(result); err != nil {
		return 0, err
	}
	defer vulkan.DestroyShaderModule(d.handle, module, nil)
	var constants, numbers *C.uint32_t
	if len(spec) > 0 {
		constants, numbers = (*C.uint32_t)(unsafe.Pointer(&spec[0])), (*C.uint32_t)(unsafe.Pointer(&ids[0]))
	}
	fixed := C.int(0)
	if d.fixedSubgroups {
		fixed = 1
	}
	cache, reported := C.uint64_t(handle(unsafe.Pointer(d.cache))), C.int(0)
	if d.reports {
		cache, reported = 0, 1 // what comes from a cache was not compiled
	}
	var out C.uint64_t
	err = check(C.vkc_create_pipeline(&d.table, d.raw(), cache, C.uint64_t(handle(unsafe.Pointer(module))), C.uint64_t(layout), numbers, constants, C.uint32_t(len(spec)), C.uint32_t(subgroup), fixed, reported, &out))
	return Pipeline(out), err
}

// Report is what the driver's compiler says of a pipeline of a device with reports, in the form of vkc_report; nil if it says nothing.
func (d *Device) Report(p Pipeline) []byte {
	var size C.size_t
	text := C.vkc_report(&d.table, d.raw(), C.uint64_t(p), &size)
	if text == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(text))
	return C.GoBytes(unsafe.Pointer(text), C.int(size))
}

// DestroyPipeline destroys a pipeline that no submission uses.
func (d *Device) DestroyPipeline(p Pipeline) {
	if d.hung.Load() {
		return
	}
	h := uintptr(p)
	vulkan.DestroyPipeline(d.handle, *(*vulkan.Pipeline)(unsafe.Pointer(&h)), nil)
}

// Allocation is memory with one buffer that spans it.
type Allocation struct {
	Buffer  Buffer
	Mapped  []byte // nil when the memory type is not host-visible
	Address uint64 // on the device; 0 where the device was opened without addresses
	buffer  vulkan.Buffer
	memory  vulkan.DeviceMemory
}

// keptSubmissions is how many submissions' descriptor sets a command buffer keeps at most: lists are searched.
const keptSubmissions = 4

const bufferUsageAddress = 0x20000 // VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT, of Vulkan 1.2

// BufferMemoryTypes returns which memory types (a bit each) storage and transfer buffers may live in.
func (d *Device) BufferMemoryTypes() (uint32, error) {
	b, err := d.newBuffer(256)
	if err != nil {
		return 0, err
	}
	defer vulkan.DestroyBuffer(d.handle, b, nil)
	need := d.requirements(b)
	return need.MemoryTypeBits, nil
}

func (d *Device) requirements(b vulkan.Buffer) vulkan.MemoryRequirements {
	var need vulkan.MemoryRequirements
	vulkan.GetBufferMemoryRequirements(d.handle, b, &need)
	need.Deref()
	defer need.Free()
	return need
}

func (d *Device) newBuffer(size uint64) (vulkan.Buffer, error) {
	info := vulkan.BufferCreateInfo{
		SType: vulkan.StructureTypeBufferCreateInfo, Size: vulkan.DeviceSize(size),
		Usage: vulkan.BufferUsageFlags(vulkan.BufferUsageStorageBufferBit | vulkan.BufferUsageStorageTexelBufferBit | vulkan.BufferUsageTransferSrcBit | vulkan.BufferUsageTransferDstBit),
	}
	if d.address {
		info.Usage |= bufferUsageAddress
	}
	if len(d.family) > 1 { // the transfer queue fills what the compute queue reads
		info.SharingMode, info.QueueFamilyIndexCount, info.PQueueFamilyIndices = vulkan.SharingModeConcurrent, uint32(len(d.family)), d.family
	}
	var b vulkan.Buffer
	result := vulkan.CreateBuffer(d.handle, &info, nil, &b)
	info.Free()
	return b, check(result)
}

// Allocate takes size bytes of the memory type, binds a buffer over them and maps them if mapped is set.
func (d *Device) Allocate(size uint64, memoryType uint32, mapped bool) (*Allocation, error) {
	b, err := d.newBuffer(size)
	if err != nil {
		return nil, err
	}
	a := &Allocation{buffer: b, Buffer: Buffer(handle(unsafe.Pointer(b)))}
	need := d.requirements(b)
	info := vulkan.MemoryAllocateInfo{SType: vulkan.StructureTypeMemoryAllocateInfo, AllocationSize: need.Size, MemoryTypeIndex: memoryType}
	if d.address {
		info.PNext = unsafe.Pointer(C.vkc_address_allocation())
	}
	var memory vulkan.DeviceMemory
	result := vulkan.AllocateMemory(d.handle, &info, nil, &memory)
	info.Free()
	if err := check(result); err != nil {
		d.Free(a)
		return nil, err
	}
	a.memory = memory
	if err := check(vulkan.BindBufferMemory(d.handle, b, memory, 0)); err != nil {
		d.Free(a)
		return nil, err
	}
	if mapped {
		var p unsafe.Pointer
		if err := check(vulkan.MapMemory(d.handle, memory, 0, vulkan.DeviceSize(size), 0, &p)); err != nil {
			d.Free(a)
			return nil, err
		}
		a.Mapped = unsafe.Slice((*byte)(p), size)
	}
	if d.address {
		a.Address = uint64(C.vkc_buffer_address(&d.table, d.raw(), C.uint64_t(a.Buffer)))
	}
	return a, nil
}

// Free releases an allocation that no submission uses.
func (d *Device) Free(a *Allocation) {
	if d.hung.Load() {
		return
	}
	d.freed.Add(1)
	vulkan.DestroyBuffer(d.handle, a.buffer, nil)
	if a.memory != nil {
		vulkan.FreeMemory(d.handle, a.memory, nil)
	}
}

// Commands is one command buffer with its pools and fence: a slot that is recorded, submitted, waited for and used again.
type Commands struct {
	d       *Device
	queue   int
	pool    vulkan.CommandPool
	sets    vulkan.DescriptorPool
	buffer  vulkan.CommandBuffer
	fence   vulkan.Fence
	kept    C.vkc_kept
	maxSets int    // of a submission
	freed   uint64 // Device.freed when what is kept was made
	Pending bool   // submitted and not yet waited for
}

// NewCommands makes a slot on the n-th queue for at most maxSets dispatches a submission; with 0 it takes copies only, which is all
// that a queue without compute can do.
func (d *Device) NewCommands(queue, maxSets int) (*Commands, error) {
	c := &Commands{d: d, queue: queue, maxSets: maxSets}
	if err := c.init(maxSets); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Commands) init(maxSets int) error {
	d := c.d
	poolInfo := vulkan.CommandPoolCreateInfo{SType: vulkan.StructureTypeCommandPoolCreateInfo, QueueFamilyIndex: d.family[c.queue]}
	var pool vulkan.CommandPool
	result := vulkan.CreateCommandPool(d.handle, &poolInfo, nil, &pool)
	poolInfo.Free()
	if err := check(result); err != nil {
		return err
	}
	c.pool = pool
	if maxSets > 0 {
		if err := c.newSets(keptSubmissions * maxSets); err != nil {
			return err
		}
	}
	allocInfo := vulkan.CommandBufferAllocateInfo{SType: vulkan.StructureTypeCommandBufferAllocateInfo, CommandPool: pool, Level: vulkan.CommandBufferLevelPrimary, CommandBufferCount: 1}
	buffers := make([]vulkan.CommandBuffer, 1)
	result = vulkan.AllocateCommandBuffers(d.handle, &allocInfo, buffers)
	allocInfo.Free()
	if err := check(result); err != nil {
		return err
	}
	c.buffer = buffers[0]
	fenceInfo := vulkan.FenceCreateInfo{SType: vulkan.StructureTypeFenceCreateInfo}
	var fence vulkan.Fence
	result = vulkan.CreateFence(d.handle, &fenceInfo, nil, &fence)
	fenceInfo.Free()
	c.fence = fence
	return check(result)
}

func (c *Commands) newSets(maxSets int) error {
	setsInfo := vulkan.DescriptorPoolCreateInfo{
		SType: vulkan.StructureTypeDescriptorPoolCreateInfo, MaxSets: uint32(maxSets), PoolSizeCount: 2,
		PPoolSizes: []vulkan.DescriptorPoolSize{
			{Type: vulkan.DescriptorTypeStorageBuffer, DescriptorCount: uint32(maxSets * MaxBindings)},
			{Type: vulkan.DescriptorTypeStorageTexelBuffer, DescriptorCount: uint32(maxSets * MaxTexels)},
		},
	}
	var sets vulkan.DescriptorPool
	result := vulkan.CreateDescriptorPool(c.d.handle, &setsInfo, nil, &sets)
	setsInfo.Free()
	c.sets = sets
	return check(result)
}

// Submit plays an op stream (the words of thunks.h) into the command buffer and submits it. The slot must not be pending;
// the caller serialises submissions to a queue.
func (c *Commands) Submit(words []uint64) error {
	d := c.d
	if d.hung.Load() {
		return DeviceLost
	}
	if err := check(vulkan.ResetCommandPool(d.handle, c.pool, 0)); err != nil {
		return err
	}
	copies := C.int(1)
	if c.sets != nil {
		copies = 0
		if freed := d.freed.Load(); c.freed != freed || int(c.kept.sets.n) > (keptSubmissions-1)*c.maxSets {
			C.vkc_drop_kept(&d.table, d.raw(), &c.kept)
			c.freed = freed
			if err := check(vulkan.ResetDescriptorPool(d.handle, c.sets, 0)); err != nil {
				return err
			}
		}
	}
	begin := vulkan.CommandBufferBeginInfo{SType: vulkan.StructureTypeCommandBufferBeginInfo, Flags: vulkan.CommandBufferUsageFlags(vulkan.CommandBufferUsageOneTimeSubmitBit)}
	result := vulkan.BeginCommandBuffer(c.buffer, &begin)
	begin.Free()
	if err := check(result); err != nil {
		return err
	}
	if len(words) > 0 {
		if err := check(C.vkc_play(&d.table, d.raw(), unsafe.Pointer(c.buffer), copies, C.uint64_t(handle(unsafe.Pointer(c.sets))), &c.kept, (*C.uint64_t)(unsafe.Pointer(&words[0])), C.uint64_t(len(words)))); err != nil {
			return err
		}
	}
	if err := check(vulkan.EndCommandBuffer(c.buffer)); err != nil {
		return err
	}
	if err := check(C.vkc_submit(&d.table, unsafe.Pointer(d.queues[c.queue]), unsafe.Pointer(c.buffer), C.uint64_t(handle(unsafe.Pointer(c.fence))))); err != nil {
		return err
	}
	c.Pending = true
	return nil
}

// Wait waits for the submission for at most the given nanoseconds; Timeout means it still runs.
func (c *Commands) Wait(nanoseconds uint64) error {
	if !c.Pending {
		return nil
	}
	fences := []vulkan.Fence{c.fence}
	if c.d.hung.Load() {
		return DeviceLost
	}
	if err := check(vulkan.WaitForFences(c.d.handle, 1, fences, vulkan.True, nanoseconds)); err != nil {
		return err
	}
	c.Pending = false
	return check(vulkan.ResetFences(c.d.handle, 1, fences))
}

// Abandon says that a submission will not end: nothing that it may use is freed any more, and nothing else is submitted.
func (d *Device) Abandon() {
	d.hung.Store(true)
	d.instance.hung.Store(true)
}

// Idle waits for all that was submitted, where waiting for this submission alone has failed: what it uses may be freed then. The caller
// serialises it with submissions to all queues.
func (c *Commands) Idle() {
	if vulkan.DeviceWaitIdle(c.d.handle) == vulkan.Success {
		c.Pending = false
	}
}

// Close destroys the slot, waiting for the device first if it is pending.
func (c *Commands) Close() {
	if c.d.hung.Load() {
		return
	}
	if c.Pending {
		vulkan.DeviceWaitIdle(c.d.handle)
	}
	C.vkc_drop_kept(&c.d.table, c.d.raw(), &c.kept)
	if c.fence != nil {
		vulkan.DestroyFence(c.d.handle, c.fence, nil)
	}
	if c.sets != nil {
		vulkan.DestroyDescriptorPool(c.d.handle, c.sets, nil)
	}
	if c.pool != nil {
		vulkan.DestroyCommandPool(c.d.handle, c.pool, nil)
	}
}

// Queries are timestamps that submissions write.
type Queries uint64

// NewQueries makes n timestamps.
func (d *Device) NewQueries(n int) (Queries, error) {
	var out C.uint64_t
	err := check(C.vkc_create_queries(&d.table, d.raw(), C.uint32_t(n), &out))
	return Queries(out), err
}

// Timestamps reads all n timestamps of q, in ticks, once they are there; each must have been submitted.
func (d *Device) Timestamps(q Queries, n int) ([]uint64, error) {
	out := make([]uint64, n)
	return out, check(C.vkc_query_results(&d.table, d.raw(), C.uint64_t(q), C.uint32_t(n), (*C.uint64_t)(unsafe.Pointer(&out[0]))))
}

// DestroyQueries destroys timestamps that no submission writes.
func (d *Device) DestroyQueries(q Queries) { C.vkc_destroy_queries(&d.table, d.raw(), C.uint64_t(q)) }
