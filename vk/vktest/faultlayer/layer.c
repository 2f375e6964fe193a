//go:build ignore

// A Vulkan layer that lets calls fail, for tests; the package beside it compiles it. It counts the calls of the entry points below, which are
// all those that vkcome uses and that give a VkResult, and lets one of them fail, by these variables of the environment:
//
//	VKFAULT_COUNTS  a file, which becomes a table of counts; it may be there already, and then counting goes on
//	VKFAULT_CALL    the name of an entry point
//	VKFAULT_AT      which of its calls fails: 1 is the first
//	VKFAULT_RESULT  the VkResult that it gives
//	VKFAULT_ON      not empty: every later call of it fails too
//
// A call that fails does nothing, but for waits: when one says that the device is lost, what was submitted has ended, as Vulkan has it. A
// device that is lost stays so, with all that are open; one that is made anew afterwards is not.
#define VK_NO_PROTOTYPES 1
#include <vulkan/vulkan.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// What vk_layer.h declares, which is in no package that the tests need: the loader's side of a layer.
typedef struct link_instance { struct link_instance *next; PFN_vkGetInstanceProcAddr instance; PFN_vkVoidFunction device; } link_instance;
typedef struct link_device { struct link_device *next; PFN_vkGetInstanceProcAddr instance; PFN_vkGetDeviceProcAddr device; } link_device;
typedef struct { VkStructureType type; const void *next; uint32_t function; void *link; } create_info; // function 0: the link
typedef struct {
	uint32_t type; void *next; uint32_t version;
	PFN_vkGetInstanceProcAddr instance; PFN_vkGetDeviceProcAddr device; PFN_vkVoidFunction physical;
} negotiation;
enum { LOADER_INSTANCE = 47, LOADER_DEVICE = 48 };

// EACH(F) is F(name, parameters, arguments) of each entry point but for the two that make what the layer hangs on.
#define EACH(F) \
	F(vkEnumeratePhysicalDevices, (VkInstance a, uint32_t *b, VkPhysicalDevice *c), (a, b, c)) \
	F(vkEnumerateDeviceExtensionProperties, (VkPhysicalDevice a, const char *b, uint32_t *c, VkExtensionProperties *d), (a, b, c, d)) \
	F(vkCreatePipelineCache, (VkDevice a, const VkPipelineCacheCreateInfo *b, const VkAllocationCallbacks *c, VkPipelineCache *d), (a, b, c, d)) \
	F(vkGetPipelineCacheData, (VkDevice a, VkPipelineCache b, size_t *c, void *d), (a, b, c, d)) \
	F(vkDeviceWaitIdle, (VkDevice a), (a)) \
	F(vkCreateDescriptorSetLayout, (VkDevice a, const VkDescriptorSetLayoutCreateInfo *b, const VkAllocationCallbacks *c, VkDescriptorSetLayout *d), (a, b, c, d)) \
	F(vkCreatePipelineLayout, (VkDevice a, const VkPipelineLayoutCreateInfo *b, const VkAllocationCallbacks *c, VkPipelineLayout *d), (a, b, c, d)) \
	F(vkCreateShaderModule, (VkDevice a, const VkShaderModuleCreateInfo *b, const VkAllocationCallbacks *c, VkShaderModule *d), (a, b, c, d)) \
	F(vkCreateComputePipelines, (VkDevice a, VkPipelineCache b, uint32_t c, const VkComputePipelineCreateInfo *d, const VkAllocationCallbacks *e, VkPipeline *f), (a, b, c, d, e, f)) \
	F(vkCreateBuffer, (VkDevice a, const VkBufferCreateInfo *b, const VkAllocationCallbacks *c, VkBuffer *d), (a, b, c, d)) \
	F(vkAllocateMemory, (VkDevice a, const VkMemoryAllocateInfo *b, const VkAllocationCallbacks *c, VkDeviceMemory *d), (a, b, c, d)) \
	F(vkBindBufferMemory, (VkDevice a, VkBuffer b, VkDeviceMemory c, VkDeviceSize d), (a, b, c, d)) \
	F(vkMapMemory, (VkDevice a, VkDeviceMemory b, VkDeviceSize c, VkDeviceSize d, VkMemoryMapFlags e, void **f), (a, b, c, d, e, f)) \
	F(vkCreateCommandPool, (VkDevice a, const VkCommandPoolCreateInfo *b, const VkAllocationCallbacks *c, VkCommandPool *d), (a, b, c, d)) \
	F(vkResetCommandPool, (VkDevice a, VkCommandPool b, VkCommandPoolResetFlags c), (a, b, c)) \
	F(vkAllocateCommandBuffers, (VkDevice a, const VkCommandBufferAllocateInfo *b, VkCommandBuffer *c), (a, b, c)) \
	F(vkBeginCommandBuffer, (VkCommandBuffer a, const VkCommandBufferBeginInfo *b), (a, b)) \
	F(vkEndCommandBuffer, (VkCommandBuffer a), (a)) \
	F(vkCreateFence, (VkDevice a, const VkFenceCreateInfo *b, const VkAllocationCallbacks *c, VkFence *d), (a, b, c, d)) \
	F(vkWaitForFences, (VkDevice a, uint32_t b, const VkFence *c, VkBool32 d, uint64_t e), (a, b, c, d, e)) \
	F(vkResetFences, (VkDevice a, uint32_t b, const VkFence *c), (a, b, c)) \
	F(vkCreateDescriptorPool, (VkDevice a, const VkDescriptorPoolCreateInfo *b, const VkAllocationCallbacks *c, VkDescriptorPool *d), (a, b, c, d)) \
	F(vkResetDescriptorPool, (VkDevice a, VkDescriptorPool b, VkDescriptorPoolResetFlags c), (a, b, c)) \
	F(vkAllocateDescriptorSets, (VkDevice a, const VkDescriptorSetAllocateInfo *b, VkDescriptorSet *c), (a, b, c)) \
	F(vkQueueSubmit, (VkQueue a, uint32_t b, const VkSubmitInfo *c, VkFence d), (a, b, c, d)) \
	F(vkCreateBufferView, (VkDevice a, const VkBufferViewCreateInfo *b, const VkAllocationCallbacks *c, VkBufferView *d), (a, b, c, d)) \
	F(vkCreateQueryPool, (VkDevice a, const VkQueryPoolCreateInfo *b, const VkAllocationCallbacks *c, VkQueryPool *d), (a, b, c, d)) \
	F(vkGetQueryPoolResults, (VkDevice a, VkQueryPool b, uint32_t c, uint32_t d, size_t e, void *f, VkDeviceSize g, VkQueryResultFlags h), (a, b, c, d, e, f, g, h))

#define INDEX(name, parameters, arguments) I_##name,
enum { I_vkCreateInstance, I_vkCreateDevice, EACH(INDEX) ENTRIES };
#undef INDEX
#define NAME(name, parameters, arguments) #name,
static const char *const names[] = { "vkCreateInstance", "vkCreateDevice", EACH(NAME) };
#undef NAME

// The table of counts, which the test reads.
static struct { char name[56]; uint64_t count; } kept[ENTRIES], *counts = kept;

static int chosen = -1;
static uint64_t at;
static VkResult result;
static int on, lost;

__attribute__((constructor)) static void begin(void) {
	const char *path = getenv("VKFAULT_COUNTS"), *call = getenv("VKFAULT_CALL"), *number = getenv("VKFAULT_AT"), *value = getenv("VKFAULT_RESULT"), *more = getenv("VKFAULT_ON");
	int file = path ? open(path, O_RDWR | O_CREAT, 0644) : -1;
	if (file >= 0 && !ftruncate(file, sizeof kept)) {
		void *mapped = mmap(NULL, sizeof kept, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		if (mapped != MAP_FAILED) counts = mapped;
	}
	if (file >= 0) close(file);
	for (int i = 0; i < ENTRIES; i++) {
		strcpy(counts[i].name, names[i]);
		if (call && !strcmp(call, names[i])) chosen = i;
	}
	at = number ? strtoull(number, NULL, 10) : 0;
	result = value ? (VkResult)strtol(value, NULL, 10) : VK_ERROR_DEVICE_LOST;
	on = more && *more;
}

// fails counts a call, and says whether it fails, and how.
static int fails(int i, VkResult *out) {
	uint64_t n = __atomic_add_fetch(&counts[i].count, 1, __ATOMIC_SEQ_CST);
	if (i == chosen && (n == at || (on && n > at))) {
		*out = result;
		if (result == VK_ERROR_DEVICE_LOST) __atomic_store_n(&lost, 1, __ATOMIC_SEQ_CST);
		return 1;
	}
	if (__atomic_load_n(&lost, __ATOMIC_SEQ_CST) && (i == I_vkQueueSubmit || i == I_vkWaitForFences || i == I_vkDeviceWaitIdle || i == I_vkGetQueryPoolResults)) {
		*out = VK_ERROR_DEVICE_LOST;
		return 1;
	}
	return 0;
}

static PFN_vkGetInstanceProcAddr next_instance_proc;
static PFN_vkGetDeviceProcAddr next_device_proc;
static VkInstance the_instance;

// The calls. There is one driver below, as vkcome uses one at a time.
#define CALL(name, parameters, arguments) \
	static PFN_##name next_##name; \
	static VKAPI_ATTR VkResult VKAPI_CALL my_##name parameters { \
		VkResult failed; \
		if (!fails(I_##name, &failed)) return next_##name arguments; \
		if ((I_##name == I_vkWaitForFences && failed == VK_ERROR_DEVICE_LOST) || I_##name == I_vkDeviceWaitIdle) (void)next_##name arguments; \
		return failed; \
	}
EACH(CALL)
#undef CALL

static void *linked(const void *chain, VkStructureType type) {
	for (create_info *c = (create_info *)chain; c; c = (create_info *)c->next)
		if (c->type == type && c->function == 0) return c;
	return NULL;
}

static VKAPI_ATTR VkResult VKAPI_CALL my_vkCreateInstance(const VkInstanceCreateInfo *info, const VkAllocationCallbacks *allocator, VkInstance *out) {
	VkResult r;
	create_info *c = linked(info->pNext, LOADER_INSTANCE);
	if (!c) return VK_ERROR_INITIALIZATION_FAILED;
	link_instance *l = c->link;
	c->link = l->next;
	next_instance_proc = l->instance;
	if (fails(I_vkCreateInstance, &r)) return r;
	r = ((PFN_vkCreateInstance)next_instance_proc(NULL, "vkCreateInstance"))(info, allocator, out);
	if (r == VK_SUCCESS) the_instance = *out;
	return r;
}

static VKAPI_ATTR VkResult VKAPI_CALL my_vkCreateDevice(VkPhysicalDevice physical, const VkDeviceCreateInfo *info, const VkAllocationCallbacks *allocator, VkDevice *out) {
	VkResult r;
	create_info *c = linked(info->pNext, LOADER_DEVICE);
	if (!c) return VK_ERROR_INITIALIZATION_FAILED;
	link_device *l = c->link;
	c->link = l->next;
	next_device_proc = l->device;
	if (fails(I_vkCreateDevice, &r)) return r;
	r = ((PFN_vkCreateDevice)l->instance(the_instance, "vkCreateDevice"))(physical, info, allocator, out);
	if (r == VK_SUCCESS) __atomic_store_n(&lost, 0, __ATOMIC_SEQ_CST);
	return r;
}

// mine is the layer's own call of a name, if the one below has it.
static PFN_vkVoidFunction mine(const char *name, PFN_vkVoidFunction below) {
#define FIND(entry, parameters, arguments) \
	if (below && !strcmp(name, #entry)) { next_##entry = (PFN_##entry)below; return (PFN_vkVoidFunction)my_##entry; }
	EACH(FIND)
#undef FIND
	return below;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_proc(VkDevice device, const char *name) {
	if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)device_proc;
	return mine(name, next_device_proc(device, name));
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_proc(VkInstance instance, const char *name) {
	if (!strcmp(name, "vkGetInstanceProcAddr")) return (PFN_vkVoidFunction)instance_proc;
	if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)device_proc;
	if (!strcmp(name, "vkCreateInstance")) return (PFN_vkVoidFunction)my_vkCreateInstance;
	if (!strcmp(name, "vkCreateDevice")) return (PFN_vkVoidFunction)my_vkCreateDevice;
	if (!next_instance_proc) return NULL;
	PFN_vkVoidFunction below = next_instance_proc(instance, name);
	// Of a device's calls the loader gives those that ask the device's layers, this one first.
	int physical = !strcmp(name, "vkEnumeratePhysicalDevices") || !strcmp(name, "vkEnumerateDeviceExtensionProperties");
	return physical ? mine(name, below) : below;
}

__attribute__((visibility("default"))) VKAPI_ATTR VkResult VKAPI_CALL vkNegotiateLoaderLayerInterfaceVersion(negotiation *n) {
	if (n->version > 2) n->version = 2;
	n->instance = instance_proc;
	n->device = device_proc;
	n->physical = NULL;
	return VK_SUCCESS;
}
