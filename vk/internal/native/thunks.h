// Vulkan entry points that the Go binding cannot call safely: it copies slices of structs to C memory that a finalizer
// may free during the call. Every struct here lives on the C stack instead. No Vulkan headers: handles are void* when
// dispatchable and uint64_t when not (64-bit ABI); struct layouts follow the Vulkan 1.3 specification.
#ifndef VKCOME_THUNKS_H
#define VKCOME_THUNKS_H
#include <stdint.h>
#include <stddef.h>

void* vkc_use_loader(uintptr_t proc); // takes a vkGetInstanceProcAddr, and gives it back as a pointer

// Per-device entry points.
typedef struct {
	int32_t (*allocateSets)(void*, const void*, uint64_t*);
	void (*updateSets)(void*, uint32_t, const void*, uint32_t, const void*);
	void (*bindPipeline)(void*, uint32_t, uint64_t);
	void (*bindSets)(void*, uint32_t, uint64_t, uint32_t, uint32_t, const uint64_t*, uint32_t, const uint32_t*);
	void (*push)(void*, uint64_t, uint32_t, uint32_t, uint32_t, const void*);
	void (*dispatch)(void*, uint32_t, uint32_t, uint32_t);
	void (*dispatchBase)(void*, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t);
	void (*barrier)(void*, uint32_t, uint32_t, uint32_t, uint32_t, const void*, uint32_t, const void*, uint32_t, const void*);
	void (*copy)(void*, uint64_t, uint64_t, uint32_t, const void*);
	void (*fill)(void*, uint64_t, uint64_t, uint64_t, uint32_t);
	int32_t (*createPipelines)(void*, uint64_t, uint32_t, const void*, const void*, uint64_t*);
	int32_t (*submit)(void*, uint32_t, const void*, uint64_t);
	int32_t (*createView)(void*, const void*, const void*, uint64_t*);
	void (*destroyView)(void*, uint64_t, const void*);
	int32_t (*createQueries)(void*, const void*, const void*, uint64_t*);
	void (*destroyQueries)(void*, uint64_t, const void*);
	int32_t (*queryResults)(void*, uint64_t, uint32_t, uint32_t, size_t, void*, uint64_t, uint32_t);
	void (*resetQueries)(void*, uint64_t, uint32_t, uint32_t);
	void (*writeTimestamp)(void*, uint32_t, uint64_t, uint32_t);
	uint64_t (*bufferAddress)(void*, const void*); // NULL before Vulkan 1.2
	int32_t (*executables)(void*, const void*, uint32_t*, void*);    // these NULL but where pipelines are reported on
	int32_t (*statistics)(void*, const void*, uint32_t*, void*);
	int32_t (*representations)(void*, const void*, uint32_t*, void*);
} vkc_table;
int vkc_load_table(vkc_table* t, void* instance, void* device); // 0 when an entry point is missing

// What a physical device says beyond Vulkan 1.0.
typedef struct {
	uint8_t uuid[16];
	uint32_t subgroup_size, subgroup_stages, subgroup_operations;
	uint64_t max_allocation;
	char driver_name[256], driver_info[256];
	uint32_t vulkan12, float16, storage16, cooperative_matrix, buffer_address, int64;
	uint32_t matrix_reductions; // of VK_NV_cooperative_matrix2, with conversions of sums to factors, and operations by row and column
	uint32_t subgroup_min;      // the smallest that a compute pipeline can ask for; 0: it cannot even ask for full ones
	uint32_t subgroup_fixed;    // all have that size, and none can be asked for: NVK says so
	uint32_t executable_properties; // pipelines say what they were compiled to
	uint32_t control_extension; // it takes VK_EXT_subgroup_size_control to ask
	uint32_t portability_subset; // a part of Vulkan alone, which has to be asked for: MoltenVK
	uint32_t nshapes;
	struct { uint32_t m, n, k, input, sum; } shapes[64]; // of a subgroup's matrices; VkComponentTypeKHR
	uint32_t nqueues;
	struct { uint32_t flags, count, timestamp_bits, granularity[3]; } queues[16]; // VkQueueFamilyProperties
} vkc_facts;
int32_t vkc_query(vkc_facts* out, void* instance, void* physical); // all but shapes; 0 or a VkResult
int32_t vkc_query_shapes(vkc_facts* out, void* instance, void* physical); // where cooperative_matrix; 0 or a VkResult

int32_t vkc_create_pipeline(const vkc_table* t, void* device, uint64_t cache, uint64_t module, uint64_t layout,
	const uint32_t* ids, const uint32_t* spec, uint32_t nspec, uint32_t subgroup, int fixed, int reported, uint64_t* out); // subgroup: its size, 0 for any; fixed: all have it

// What the driver's compiler made of a pipeline that was created as reported: for each executable the line "executable SUBGROUP NAME", lines
// "statistic VALUE NAME", and "code BYTES NAME" with so many bytes behind the line. The caller's to free; NULL: no memory, or nothing is told.
char* vkc_report(const vkc_table* t, void* device, uint64_t pipeline, size_t* size);
int32_t vkc_submit(const vkc_table* t, void* queue, void* commands, uint64_t fence);

// Buffer views of the dispatches in a command buffer, kept for the next recording: much of it will be the same. What is kept must not
// outlive its buffers, whose handles others may get.
typedef struct { uint64_t buffer, offset, range, handle; } vkc_view;
typedef struct { vkc_view* list; uint32_t n, room, next; } vkc_views;

// Descriptor sets likewise: layout, texels, count and ranges are what they were written with.
typedef struct { uint64_t layout, texels, count, ranges[3 * 16], handle; } vkc_set;
typedef struct { vkc_set* list; uint32_t n, room, next; } vkc_sets;

typedef struct { vkc_views views; vkc_sets sets; } vkc_kept;
void vkc_drop_kept(const vkc_table* t, void* device, vkc_kept* kept); // the sets' pool is the caller's to reset

// VkDeviceCreateInfo.pNext that enables what shaders use of a device, addresses and reports on pipelines if asked for; the caller's to
// free. NULL: no memory.
void* vkc_device_features(const vkc_facts* facts, int addresses, int reports);

// VkMemoryAllocateInfo.pNext for buffer device addresses.
const void* vkc_address_allocation(void);
uint64_t vkc_buffer_address(const vkc_table* t, void* device, uint64_t buffer);

// Plays an op stream of uint64 words into a command buffer; 0 or a VkResult. copies_only is for queues without compute, whose
// barriers may not name its stage.
//   0 barrier
//   1 dispatch: pipeline layout set_layout nbuf texels (buffer offset range)*nbuf npush(words) push*npush base[3] groups[3]
//     bit i of texels: binding i is a storage texel buffer of R32G32B32A32_UINT
//   2 copy: src dst src_offset dst_offset size
//   3 timestamp, once all before is done: queries index
//   4 fill: dst offset size word
int32_t vkc_play(const vkc_table* t, void* device, void* commands, int copies_only, uint64_t pool, vkc_kept* kept, const uint64_t* words, uint64_t n);

// Timestamp queries.
int32_t vkc_create_queries(const vkc_table* t, void* device, uint32_t n, uint64_t* out);
void vkc_destroy_queries(const vkc_table* t, void* device, uint64_t queries);
int32_t vkc_query_results(const vkc_table* t, void* device, uint64_t queries, uint32_t n, uint64_t* out); // waits for them

// Validation messages, kept in C memory until taken; the string is the caller's to free. NULL when there is none.
int32_t vkc_create_messenger(void* instance, uint64_t* out);
void vkc_destroy_messenger(void* instance, uint64_t messenger);
char* vkc_take_message(void);

// pNext chain for vkCreateInstance that turns on synchronization validation.
const void* vkc_validation_features(void);
#endif
