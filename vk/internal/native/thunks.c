#include "thunks.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*pfn)(void);
typedef pfn (*get_proc)(void*, const char*);
static get_proc instance_proc;

void* vkc_use_loader(uintptr_t proc) {
	instance_proc = (get_proc)proc;
	return (void*)proc;
}

int vkc_load_table(vkc_table* t, void* instance, void* device) {
	get_proc device_proc = (get_proc)instance_proc(instance, "vkGetDeviceProcAddr");
	if (!device_proc) return 0;
#define LOAD(field, name) if (!(*(pfn*)&t->field = device_proc(device, name))) return 0
	LOAD(allocateSets, "vkAllocateDescriptorSets");
	LOAD(updateSets, "vkUpdateDescriptorSets");
	LOAD(bindPipeline, "vkCmdBindPipeline");
	LOAD(bindSets, "vkCmdBindDescriptorSets");
	LOAD(push, "vkCmdPushConstants");
	LOAD(dispatch, "vkCmdDispatch");
	LOAD(dispatchBase, "vkCmdDispatchBase");
	LOAD(barrier, "vkCmdPipelineBarrier");
	LOAD(copy, "vkCmdCopyBuffer");
	LOAD(fill, "vkCmdFillBuffer");
	LOAD(createPipelines, "vkCreateComputePipelines");
	LOAD(submit, "vkQueueSubmit");
	LOAD(createView, "vkCreateBufferView");
	LOAD(destroyView, "vkDestroyBufferView");
	LOAD(createQueries, "vkCreateQueryPool");
	LOAD(destroyQueries, "vkDestroyQueryPool");
	LOAD(queryResults, "vkGetQueryPoolResults");
	LOAD(resetQueries, "vkCmdResetQueryPool");
	LOAD(writeTimestamp, "vkCmdWriteTimestamp");
	*(pfn*)&t->bufferAddress = device_proc(device, "vkGetBufferDeviceAddress");
	*(pfn*)&t->executables = device_proc(device, "vkGetPipelineExecutablePropertiesKHR");
	*(pfn*)&t->statistics = device_proc(device, "vkGetPipelineExecutableStatisticsKHR");
	*(pfn*)&t->representations = device_proc(device, "vkGetPipelineExecutableInternalRepresentationsKHR");
	return 1;
}

enum {
	ST_SUBMIT = 4, ST_QUERY_POOL = 11, ST_BUFFER_VIEW = 13, ST_SHADER_STAGE = 18, ST_COMPUTE_PIPELINE = 29, ST_ALLOCATE_SETS = 34, ST_WRITE_SET = 35, ST_MEMORY_BARRIER = 46,
	ST_VULKAN11_FEATURES = 49, ST_VULKAN12_FEATURES = 51, ST_FEATURES2 = 1000059000, ST_PROPERTIES2 = 1000059001,
	ST_ID = 1000071004, ST_SUBGROUP = 1000094000, ST_MAINTENANCE3 = 1000168000, ST_DRIVER = 1000196000, ST_COOPMAT = 1000506000, ST_COOPMAT2 = 1000593000, ST_MAINTENANCE4 = 1000413000, ST_COOPMAT_SHAPE = 1000506001,
	ST_SUBGROUP_SIZES = 1000225000, ST_SUBGROUP_REQUIRED = 1000225001, ST_SUBGROUP_CONTROL = 1000225002,
	ST_EXECUTABLE_FEATURES = 1000269000, ST_PIPELINE_INFO = 1000269001, ST_EXECUTABLE = 1000269002, ST_EXECUTABLE_INFO = 1000269003, ST_STATISTIC = 1000269004, ST_REPRESENTATION = 1000269005,
	ST_ALLOCATE_FLAGS = 1000060000, ST_ADDRESS_INFO = 1000244001, ST_VALIDATION_FEATURES = 1000247000, ST_DEBUG_REPORT = 1000011000,
};

typedef struct { char name[256]; uint32_t version; } extension; // VkExtensionProperties
static int has(const extension* list, uint32_t n, const char* name) {
	for (uint32_t i = 0; i < n; i++) if (!strncmp(list[i].name, name, sizeof list[i].name)) return 1;
	return 0;
}

int32_t vkc_query_shapes(vkc_facts* out, void* instance, void* physical) {
	typedef struct { uint32_t type, pad; void* next; uint32_t m, n, k, a, b, c, result, saturates, scope; } shape;
	int32_t (*shapes)(void*, uint32_t*, shape*) =
		(int32_t (*)(void*, uint32_t*, shape*))instance_proc(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
	uint32_t n = 0;
	if (!shapes) return 0;
	int32_t result = shapes(physical, &n, NULL);
	if (result < 0 || !n) return result < 0 ? result : 0;
	shape* list = calloc(n, sizeof *list);
	if (!list) return -1; // OUT_OF_HOST_MEMORY
	for (uint32_t i = 0; i < n; i++) list[i].type = ST_COOPMAT_SHAPE;
	if ((result = shapes(physical, &n, list)) < 0) { free(list); return result; }
	const uint32_t room = sizeof out->shapes / sizeof out->shapes[0];
	for (uint32_t i = 0; i < n && out->nshapes < room; i++) {
		const shape* s = &list[i];
		if (s->scope != 3 /* SUBGROUP */ || s->a != s->b || s->c != s->result || s->saturates) continue;
		out->shapes[out->nshapes].m = s->m;
		out->shapes[out->nshapes].n = s->n;
		out->shapes[out->nshapes].k = s->k;
		out->shapes[out->nshapes].input = s->a;
		out->shapes[out->nshapes++].sum = s->c;
	}
	free(list);
	return 0;
}

int32_t vkc_query(vkc_facts* out, void* instance, void* physical) {
	memset(out, 0, sizeof *out);
	int32_t (*extensions)(void*, const char*, uint32_t*, extension*) =
		(int32_t (*)(void*, const char*, uint32_t*, extension*))instance_proc(instance, "vkEnumerateDeviceExtensionProperties");
	uint32_t n = 0;
	extension* list = NULL;
	int32_t result = extensions ? extensions(physical, NULL, &n, NULL) : 0;
	if (result >= 0 && n) {
		list = calloc(n, sizeof *list);
		result = list ? extensions(physical, NULL, &n, list) : -1; // OUT_OF_HOST_MEMORY
	}
	if (result < 0) { // what a device cannot do for want of memory would change what is computed
		free(list);
		return result;
	}
	union { uint32_t api; uint64_t blob[256]; } p1 = { 0 }; // VkPhysicalDeviceProperties begins with apiVersion
	void (*properties)(void*, void*) = (void (*)(void*, void*))instance_proc(instance, "vkGetPhysicalDeviceProperties");
	properties(physical, &p1);
	uint32_t minor = (p1.api >> 12) & 0x3ff;
	out->vulkan12 = minor >= 2;
	int has_driver_properties = minor >= 2 || has(list, n, "VK_KHR_driver_properties"), has_coopmat = has(list, n, "VK_KHR_cooperative_matrix");
	int has_coopmat2 = minor >= 3 && has(list, n, "VK_NV_cooperative_matrix2"); // its shaders are of SPIR-V 1.6, which Vulkan 1.3 takes
	out->executable_properties = has(list, n, "VK_KHR_pipeline_executable_properties");
	out->portability_subset = has(list, n, "VK_KHR_portability_subset");
	int has_control = minor >= 3 || has(list, n, "VK_EXT_subgroup_size_control");
	free(list);
	void (*families)(void*, uint32_t*, void*) = (void (*)(void*, uint32_t*, void*))instance_proc(instance, "vkGetPhysicalDeviceQueueFamilyProperties");
	out->nqueues = sizeof out->queues / sizeof out->queues[0];
	families(physical, &out->nqueues, out->queues);
	struct { uint32_t type, pad; void* next; uint8_t device[16], driver[16], luid[8]; uint32_t mask, valid; } id = { ST_ID };
	struct { uint32_t type, pad; void* next; uint32_t size, stages, operations, quad; } subgroup = { ST_SUBGROUP, 0, &id };
	struct { uint32_t type, pad; void* next; uint32_t per_set; uint64_t allocation; } m3 = { ST_MAINTENANCE3, 0, &subgroup };
	struct { uint32_t type, pad; void* next; uint32_t id; char name[256], info[256]; uint8_t conformance[4]; } driver = { ST_DRIVER, 0, &m3 };
	struct { uint32_t type, pad; void* next; uint32_t min, max, per_workgroup, stages; } sizes = { ST_SUBGROUP_SIZES, 0, has_driver_properties ? (void*)&driver : (void*)&m3 };
	struct { uint32_t type, pad; void* next; uint64_t blob[256]; } p2 = { ST_PROPERTIES2, 0, has_control ? (void*)&sizes : sizes.next };
	void (*properties2)(void*, void*) = (void (*)(void*, void*))instance_proc(instance, "vkGetPhysicalDeviceProperties2");
	if (properties2) properties2(physical, &p2);
	memcpy(out->uuid, id.device, 16);
	out->subgroup_size = subgroup.size;
	out->subgroup_stages = subgroup.stages;
	out->subgroup_operations = subgroup.operations;
	out->max_allocation = m3.allocation;
	memcpy(out->driver_name, driver.name, 256);
	memcpy(out->driver_info, driver.info, 256);

	struct { uint32_t type, pad; void* next; uint32_t f[12]; } v11 = { ST_VULKAN11_FEATURES };
	struct { uint32_t type, pad; void* next; uint32_t f[48]; } v12 = { ST_VULKAN12_FEATURES, 0, &v11 };
	struct { uint32_t type, pad; void* next; uint32_t f[2]; } coopmat = { ST_COOPMAT };
	struct { uint32_t type, pad; void* next; uint32_t f[8]; } coopmat2 = { ST_COOPMAT2 }; // 7 of them
	struct { uint32_t type, pad; void* next; uint32_t control, full; } control = { ST_SUBGROUP_CONTROL };
	struct { uint32_t type, pad; void* next; uint32_t f[64]; } f2 = { ST_FEATURES2 };
	if (minor >= 2) f2.next = &v12;
	if (has_control) { control.next = f2.next; f2.next = &control; }
	if (has_coopmat) { coopmat.next = f2.next; f2.next = &coopmat; }
	if (has_coopmat2) { coopmat2.next = f2.next; f2.next = &coopmat2; }
	void (*features2)(void*, void*) = (void (*)(void*, void*))instance_proc(instance, "vkGetPhysicalDeviceFeatures2");
	if (features2) features2(physical, &f2);
	out->float16 = v12.f[7];
	out->storage16 = v11.f[0];
	out->cooperative_matrix = coopmat.f[0] && v12.f[41] && v12.f[42]; // SPIR-V has its matrices in the Vulkan memory model, and atomics of all the device
	out->matrix_reductions = out->cooperative_matrix && coopmat2.f[2] && coopmat2.f[3] && coopmat2.f[4];
	out->buffer_address = v12.f[38];
	out->int64 = f2.f[40];
	out->control_extension = has_control && minor < 3;
	int asks = control.control && sizes.stages & 0x20 /* COMPUTE */;
	if (control.full && (asks || sizes.min == sizes.max)) out->subgroup_min = sizes.min;
	out->subgroup_fixed = out->subgroup_min && !asks;
	return 0;
}

void* vkc_device_features(const vkc_facts* facts, int addresses, int reports) {
	struct features {
		struct { uint32_t type, pad; void* next; uint32_t f[55], end; } f2; // VkPhysicalDeviceFeatures2
		struct { uint32_t type, pad; void* next; uint32_t f[12]; } v11;
		struct { uint32_t type, pad; void* next; uint32_t f[48]; } v12;
		struct { uint32_t type, pad; void* next; uint32_t control, full; } control;
		struct { uint32_t type, pad; void* next; uint32_t f[2]; } coopmat;
		struct { uint32_t type, pad; void* next; uint32_t f[8]; } coopmat2;
		struct { uint32_t type, pad; void* next; uint32_t f[2]; } maintenance4;
		struct { uint32_t type, pad; void* next; uint32_t f[2]; } executable;
	}* f = calloc(1, sizeof *f);
	if (!f) return NULL;
	f->f2.type = ST_FEATURES2;
	f->f2.f[40] = facts->int64;
	void** next = &f->f2.next;
#define CHAIN(field, structure) (f->field.type = structure, *next = &f->field, next = &f->field.next)
	if (facts->vulkan12) {
		CHAIN(v11, ST_VULKAN11_FEATURES);
		f->v11.f[0] = facts->storage16;
		CHAIN(v12, ST_VULKAN12_FEATURES);
		f->v12.f[7] = facts->float16;
		f->v12.f[38] = addresses;
		f->v12.f[41] = f->v12.f[42] = facts->cooperative_matrix; // vulkanMemoryModel and its device scope, which atomicAdd has
	}
	if (facts->subgroup_min) {
		CHAIN(control, ST_SUBGROUP_CONTROL);
		f->control.control = !facts->subgroup_fixed;
		f->control.full = 1;
	}
	if (facts->cooperative_matrix) {
		CHAIN(coopmat, ST_COOPMAT);
		f->coopmat.f[0] = 1;
	}
	if (facts->matrix_reductions) {
		CHAIN(coopmat2, ST_COOPMAT2);
		f->coopmat2.f[2] = f->coopmat2.f[3] = f->coopmat2.f[4] = 1; // reductions, conversions, operations on elements
		CHAIN(maintenance4, ST_MAINTENANCE4);
		f->maintenance4.f[0] = 1; // which every device of Vulkan 1.3 has, for the workgroup size of SPIR-V 1.6
	}
	if (reports) {
		CHAIN(executable, ST_EXECUTABLE_FEATURES);
		f->executable.f[0] = 1;
	}
#undef CHAIN
	return f;
}

int32_t vkc_create_pipeline(const vkc_table* t, void* device, uint64_t cache, uint64_t module, uint64_t layout,
	const uint32_t* ids, const uint32_t* spec, uint32_t nspec, uint32_t subgroup, int fixed, int reported, uint64_t* out) {
	struct { uint32_t id, offset; size_t size; } entry[32];
	if (nspec > 32) return -3;
	for (uint32_t i = 0; i < nspec; i++) { entry[i].id = ids[i]; entry[i].offset = 4 * i; entry[i].size = 4; }
	const struct { uint32_t type; const void* next; uint32_t size; } required = { ST_SUBGROUP_REQUIRED, NULL, subgroup };
	struct { uint32_t n; const void* entries; size_t size; const void* data; } info = { nspec, entry, 4 * (size_t)nspec, spec };
	struct {
		uint32_t type; const void* next; uint32_t flags;
		struct { uint32_t type; const void* next; uint32_t flags, stage; uint64_t module; const char* name; const void* spec; } stage;
		uint64_t layout, base; int32_t base_index;
	} create = { ST_COMPUTE_PIPELINE, NULL, 0x10 /* DISPATCH_BASE */ | (reported ? 0x40 | 0x80 : 0) /* CAPTURE_STATISTICS, CAPTURE_INTERNAL_REPRESENTATIONS */, { ST_SHADER_STAGE, subgroup && !fixed ? &required : NULL, subgroup ? 2 /* REQUIRE_FULL_SUBGROUPS */ : 0, 0x20 /* COMPUTE */, module, "main", nspec ? &info : NULL }, layout, 0, -1 };
	return t->createPipelines(device, cache, 1, &create, NULL, out);
}

typedef struct { char* text; size_t size, room; int failed; } report;

static void append(report* r, const void* bytes, size_t n) {
	if (r->failed || r->size + n > r->room) {
		size_t room = 2 * (r->size + n) + 4096;
		char* larger = r->failed ? NULL : realloc(r->text, room);
		if (!larger) { r->failed = 1; return; }
		r->text = larger;
		r->room = room;
	}
	memcpy(r->text + r->size, bytes, n);
	r->size += n;
}

static void append_line(report* r, const char* format, ...) {
	char line[512];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	append(r, line, n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static void report_statistics(const vkc_table* t, void* device, const void* info, report* r) {
	typedef struct { uint32_t type, pad; void* next; char name[256], description[256]; uint32_t format, pad2; union { uint32_t b32; int64_t i64; uint64_t u64; double f64; } value; } statistic;
	uint32_t n = 0;
	if (t->statistics(device, info, &n, NULL) || !n) return;
	statistic* list = calloc(n, sizeof *list);
	if (!list) { r->failed = 1; return; }
	for (uint32_t i = 0; i < n; i++) list[i].type = ST_STATISTIC;
	if (t->statistics(device, info, &n, list) < 0) n = 0;
	for (uint32_t i = 0; i < n; i++) {
		switch (list[i].format) {
		case 0: append_line(r, "statistic %u %.256s\n", list[i].value.b32, list[i].name); break;
		case 1: append_line(r, "statistic %lld %.256s\n", (long long)list[i].value.i64, list[i].name); break;
		case 2: append_line(r, "statistic %llu %.256s\n", (unsigned long long)list[i].value.u64, list[i].name); break;
		default: append_line(r, "statistic %.17g %.256s\n", list[i].value.f64, list[i].name);
		}
	}
	free(list);
}

static void report_code(const vkc_table* t, void* device, const void* info, report* r) {
	typedef struct { uint32_t type, pad; void* next; char name[256], description[256]; uint32_t text, pad2; size_t size; void* data; } representation;
	uint32_t n = 0;
	if (t->representations(device, info, &n, NULL) || !n) return;
	representation* list = calloc(n, sizeof *list);
	if (!list) { r->failed = 1; return; }
	for (uint32_t i = 0; i < n; i++) list[i].type = ST_REPRESENTATION;
	if (t->representations(device, info, &n, list) < 0) n = 0;
	for (uint32_t i = 0; i < n; i++) if (!(list[i].data = calloc(1, list[i].size + 1))) { r->failed = 1; list[i].size = 0; }
	if (n && t->representations(device, info, &n, list) >= 0) {
		for (uint32_t i = 0; i < n; i++) {
			if (!list[i].text || !list[i].data) continue;
			size_t size = strnlen(list[i].data, list[i].size);
			append_line(r, "code %llu %.256s\n", (unsigned long long)size, list[i].name);
			append(r, list[i].data, size);
		}
	}
	for (uint32_t i = 0; i < n; i++) free(list[i].data);
	free(list);
}

char* vkc_report(const vkc_table* t, void* device, uint64_t pipeline, size_t* size) {
	typedef struct { uint32_t type, pad; void* next; uint32_t stages; char name[256], description[256]; uint32_t subgroup; } executable;
	report r = { 0 };
	*size = 0;
	if (!t->executables || !t->statistics || !t->representations) return NULL;
	struct { uint32_t type, pad; const void* next; uint64_t pipeline; } info = { ST_PIPELINE_INFO, 0, NULL, pipeline };
	uint32_t n = 0;
	if (t->executables(device, &info, &n, NULL) || !n) return NULL;
	executable* list = calloc(n, sizeof *list);
	if (!list) return NULL;
	for (uint32_t i = 0; i < n; i++) list[i].type = ST_EXECUTABLE;
	if (t->executables(device, &info, &n, list) < 0) n = 0;
	for (uint32_t i = 0; i < n; i++) {
		append_line(&r, "executable %u %.256s\n", list[i].subgroup, list[i].name);
		struct { uint32_t type, pad; const void* next; uint64_t pipeline; uint32_t index, pad2; } one = { ST_EXECUTABLE_INFO, 0, NULL, pipeline, i, 0 };
		report_statistics(t, device, &one, &r);
		report_code(t, device, &one, &r);
	}
	free(list);
	if (r.failed) { free(r.text); return NULL; }
	*size = r.size;
	return r.text;
}

int32_t vkc_submit(const vkc_table* t, void* queue, void* commands, uint64_t fence) {
	struct { uint32_t type; const void* next; uint32_t nwait; const void *wait, *stages; uint32_t ncommands; void* const* commands; uint32_t nsignal; const void* signal; }
		info = { ST_SUBMIT, NULL, 0, NULL, NULL, 1, &commands, 0, NULL };
	return t->submit(queue, 1, &info, fence);
}

enum { COMPUTE = 0x800, TRANSFER = 0x1000, HOST = 0x4000 };                                      // VkPipelineStageFlagBits
enum { SHADER_READ = 0x20, SHADER_WRITE = 0x40, TRANSFER_READ = 0x800, TRANSFER_WRITE = 0x1000, HOST_READ = 0x2000 }; // VkAccessFlagBits

void vkc_drop_kept(const vkc_table* t, void* device, vkc_kept* k) {
	for (uint32_t i = 0; i < k->views.n; i++) t->destroyView(device, k->views.list[i].handle, NULL);
	free(k->views.list);
	free(k->sets.list);
	memset(k, 0, sizeof *k);
}

// grown makes room for one more of size bytes; 0 when there is no memory.
static int grown(void** list, uint32_t n, uint32_t* room, size_t size) {
	if (n < *room) return 1;
	uint32_t more = *room ? 2 * *room : 64;
	void* larger = realloc(*list, more * size);
	if (!larger) return 0;
	*list = larger;
	*room = more;
	return 1;
}

static int32_t view_of(const vkc_table* t, void* device, vkc_views* v, const uint64_t* range, uint64_t* out) {
	for (uint32_t k = 0; k < v->n; k++) { // the one after the last that was found, most likely
		vkc_view* e = &v->list[(v->next + k) % v->n];
		if (memcmp(e, range, 3 * sizeof *range)) continue;
		v->next = (uint32_t)(e - v->list) + 1;
		*out = e->handle;
		return 0;
	}
	if (!grown((void**)&v->list, v->n, &v->room, sizeof *v->list)) return -1;
	struct { uint32_t type; const void* next; uint32_t flags; uint64_t buffer; uint32_t format; uint64_t offset, range; }
		create = { ST_BUFFER_VIEW, NULL, 0, range[0], 107 /* R32G32B32A32_UINT */, range[1], range[2] };
	int32_t result = t->createView(device, &create, NULL, out);
	if (!result) v->list[v->n++] = (vkc_view){ range[0], range[1], range[2], *out };
	v->next = v->n;
	return result;
}

// set_of is a descriptor set with these buffers, texel buffers where texels has a bit.
static int32_t set_of(const vkc_table* t, void* device, uint64_t pool, vkc_kept* kept, uint64_t layout, uint64_t texels, uint64_t count, const uint64_t* ranges, uint64_t* out) {
	if (count > 16) return -3;
	vkc_sets* s = &kept->sets;
	const size_t size = 3 * count * sizeof *ranges;
	for (uint32_t k = 0; k < s->n; k++) { // the one after the last that was found, most likely
		vkc_set* e = &s->list[(s->next + k) % s->n];
		if (e->layout != layout || e->texels != texels || e->count != count || memcmp(e->ranges, ranges, size)) continue;
		s->next = (uint32_t)(e - s->list) + 1;
		*out = e->handle;
		return 0;
	}
	if (!grown((void**)&s->list, s->n, &s->room, sizeof *s->list)) return -1;
	struct { uint32_t type; const void* next; uint64_t pool; uint32_t count; const uint64_t* layouts; } allocate = { ST_ALLOCATE_SETS, NULL, pool, 1, &layout };
	int32_t result = t->allocateSets(device, &allocate, out);
	if (result) return result;
	struct { uint32_t type; const void* next; uint64_t set; uint32_t binding, element, count, kind; const void *image, *buffer, *texel; } write[16];
	uint64_t view[16];
	for (uint32_t i = 0; i < count; i++) {
		memset(&write[i], 0, sizeof write[i]);
		write[i].type = ST_WRITE_SET; write[i].set = *out; write[i].binding = i; write[i].count = 1;
		write[i].kind = 7; // STORAGE_BUFFER
		write[i].buffer = ranges + 3 * i; // buffer, offset, range: the layout of VkDescriptorBufferInfo
		if (texels >> i & 1) {
			if ((result = view_of(t, device, &kept->views, ranges + 3 * i, &view[i]))) return result;
			write[i].kind = 5; // STORAGE_TEXEL_BUFFER
			write[i].texel = &view[i];
		}
	}
	t->updateSets(device, (uint32_t)count, write, 0, NULL);
	vkc_set* e = &s->list[s->n++];
	e->layout = layout; e->texels = texels; e->count = count; e->handle = *out;
	memcpy(e->ranges, ranges, size);
	s->next = s->n;
	return 0;
}

const void* vkc_address_allocation(void) {
	static const struct { uint32_t type; const void* next; uint32_t flags, mask; } flags = { ST_ALLOCATE_FLAGS, NULL, 2 /* DEVICE_ADDRESS */, 0 };
	return &flags;
}

uint64_t vkc_buffer_address(const vkc_table* t, void* device, uint64_t buffer) {
	struct { uint32_t type; const void* next; uint64_t buffer; } info = { ST_ADDRESS_INFO, NULL, buffer };
	return t->bufferAddress(device, &info);
}

int32_t vkc_play(const vkc_table* t, void* device, void* commands, int copies_only, uint64_t pool, vkc_kept* kept, const uint64_t* w, uint64_t n) {
	const uint64_t* end = w + n;
	const uint32_t stages = copies_only ? TRANSFER : COMPUTE | TRANSFER;
	const uint32_t reads = copies_only ? TRANSFER_READ : SHADER_READ | TRANSFER_READ, writes = copies_only ? TRANSFER_WRITE : SHADER_WRITE | TRANSFER_WRITE;
	uint64_t bound = 0;
	while (w < end) switch (*w++) {
	case 0: {
		struct { uint32_t type; const void* next; uint32_t src, dst; } barrier = { ST_MEMORY_BARRIER, NULL, writes, reads | writes | HOST_READ };
		t->barrier(commands, stages, stages | HOST, 0, 1, &barrier, 0, NULL, 0, NULL);
		break;
	}
	case 1: {
		uint64_t pipeline = w[0], layout = w[1], set_layout = w[2], nbuf = w[3], texels = w[4];
		w += 5;
		uint64_t set = 0;
		int32_t result = set_of(t, device, pool, kept, set_layout, texels, nbuf, w, &set);
		if (result) return result;
		w += 3 * nbuf;
		if (pipeline != bound) { t->bindPipeline(commands, 1, pipeline); bound = pipeline; }
		t->bindSets(commands, 1, layout, 0, 1, &set, 0, NULL);
		uint64_t npush = *w++;
		uint32_t push[32];
		if (npush > 32) return -3;
		for (uint32_t i = 0; i < npush; i++) push[i] = (uint32_t)w[i];
		if (npush) t->push(commands, layout, 0x20, 0, 4 * (uint32_t)npush, push);
		w += npush;
		// Synchronization validation of 1.3.239 does not see vkCmdDispatchBase: keep to vkCmdDispatch where it does the same.
		if (w[0] | w[1] | w[2]) t->dispatchBase(commands, (uint32_t)w[0], (uint32_t)w[1], (uint32_t)w[2], (uint32_t)w[3], (uint32_t)w[4], (uint32_t)w[5]);
		else t->dispatch(commands, (uint32_t)w[3], (uint32_t)w[4], (uint32_t)w[5]);
		w += 6;
		break;
	}
	case 2:
		t->copy(commands, w[0], w[1], 1, w + 2);
		w += 5;
		break;
	case 3:
		t->resetQueries(commands, w[0], (uint32_t)w[1], 1);
		t->writeTimestamp(commands, 0x2000 /* BOTTOM_OF_PIPE */, w[0], (uint32_t)w[1]);
		w += 2;
		break;
	case 4:
		t->fill(commands, w[0], w[1], w[2], (uint32_t)w[3]);
		w += 4;
		break;
	default:
		return -3;
	}
	return 0;
}

int32_t vkc_create_queries(const vkc_table* t, void* device, uint32_t n, uint64_t* out) {
	struct { uint32_t type; const void* next; uint32_t flags, kind, count, statistics; } create = { ST_QUERY_POOL, NULL, 0, 2 /* TIMESTAMP */, n, 0 };
	return t->createQueries(device, &create, NULL, out);
}
void vkc_destroy_queries(const vkc_table* t, void* device, uint64_t queries) { t->destroyQueries(device, queries, NULL); }
int32_t vkc_query_results(const vkc_table* t, void* device, uint64_t queries, uint32_t n, uint64_t* out) {
	return t->queryResults(device, queries, 0, n, n * sizeof *out, out, sizeof *out, 3 /* 64_BIT | WAIT */);
}

struct message { struct message* next; char text[]; };
static struct message *first_message, **last_message = &first_message;

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#define NOGDI // whose ERROR is a macro
#include <windows.h>
static SRWLOCK messages = SRWLOCK_INIT;
static void lock_messages(void) { AcquireSRWLockExclusive(&messages); }
static void unlock_messages(void) { ReleaseSRWLockExclusive(&messages); }
#else
#include <pthread.h>
static pthread_mutex_t messages = PTHREAD_MUTEX_INITIALIZER;
static void lock_messages(void) { pthread_mutex_lock(&messages); }
static void unlock_messages(void) { pthread_mutex_unlock(&messages); }
#endif

static uint32_t on_message(uint32_t flags, uint32_t kind, uint64_t object, size_t location, int32_t code, const char* layer, const char* text, void* user) {
	size_t n = strlen(text);
	struct message* m = malloc(sizeof *m + n + 1);
	if (!m) return 0;
	m->next = NULL;
	memcpy(m->text, text, n + 1);
	lock_messages();
	*last_message = m;
	last_message = &m->next;
	unlock_messages();
	return 0;
}
int32_t vkc_create_messenger(void* instance, uint64_t* out) {
	enum { WARNING = 2, PERFORMANCE = 4, ERROR = 8 };
	struct { uint32_t type; const void* next; uint32_t flags; void* callback; void* user; }
		create = { ST_DEBUG_REPORT, NULL, WARNING | PERFORMANCE | ERROR, (void*)on_message, NULL };
	int32_t (*f)(void*, const void*, const void*, uint64_t*) =
		(int32_t (*)(void*, const void*, const void*, uint64_t*))instance_proc(instance, "vkCreateDebugReportCallbackEXT");
	return f ? f(instance, &create, NULL, out) : -7; // EXTENSION_NOT_PRESENT
}

void vkc_destroy_messenger(void* instance, uint64_t messenger) {
	void (*f)(void*, uint64_t, const void*) = (void (*)(void*, uint64_t, const void*))instance_proc(instance, "vkDestroyDebugReportCallbackEXT");
	if (f) f(instance, messenger, NULL);
}

char* vkc_take_message(void) {
	lock_messages();
	struct message* m = first_message;
	if (m && !(first_message = m->next)) last_message = &first_message;
	unlock_messages();
	if (!m) return NULL;
	memmove(m, m->text, strlen(m->text) + 1);
	return (char*)m;
}

const void* vkc_validation_features(void) {
	static const uint32_t enable[] = { 4 }; // SYNCHRONIZATION_VALIDATION
	static const struct { uint32_t type; const void* next; uint32_t nenable; const void* enable; uint32_t ndisable; const void* disable; }
		features = { ST_VALIDATION_FEATURES, NULL, 1, enable, 0, NULL };
	return &features;
}
