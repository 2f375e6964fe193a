/* vkcome makes language models smaller by merging their layers, on any device that has Vulkan. This is its C interface.
 *
 *     char *error;
 *     vkcome_device device;
 *     if (vkcome_device_open(NULL, &device, &error)) {
 *         fprintf(stderr, "%s\n", error);
 *         vkcome_free(error);
 *     }
 *
 * RESULTS AND ERRORS. A function that can fail returns a code, VKCOME_OK (0) or one of the errors below. Its last parameter
 * is where the error's text goes, one line of UTF-8 that says what was wrong, where, and what to do. It may be NULL. After
 * success the text is NULL. Whatever a call gives is set by every call: after an error, handles are 0 and texts are NULL.
 *
 * OWNERSHIP. A text that a function gives belongs to the caller, who frees it with vkcome_free, and with nothing else. What
 * the caller passes is copied before the call returns. The text that a callback gets lives until the callback returns.
 *
 * HANDLES are numbers, not addresses. 0 is none, a number is never given twice, and no wrong number crashes anything: one
 * that is closed, made up, or of another kind of object gives VKCOME_ERROR_HANDLE. Objects live until they are closed. One
 * that a call or a generator uses cannot be closed: VKCOME_ERROR_BUSY, and it stays open.
 *
 * TEXTS are UTF-8 that ends with a zero byte, on Windows too. Options, requests and results are JSON objects. NULL or "" for
 * options is {}. A field that is not known, a value out of range, and what is not UTF-8 or not JSON are
 * VKCOME_ERROR_ARGUMENT. A field that is left out has its default. Results may get more fields in a later version: ignore
 * those that you do not know. README.md beside this file lists the fields.
 *
 * THREADS. Every function may be called from any thread, and several at once. A handle may be used from any thread. A device
 * computes for one call at a time: a second one that needs it returns VKCOME_ERROR_BUSY at once and waits for nothing, so
 * that nothing can deadlock. Devices are independent: as many calls run at once as there are devices open, of the same GPU
 * too. A model serves any number of calls.
 *
 * CALLBACKS come on the thread that called the function, one at a time, while that function runs; work waits for their
 * return, so be quick. A callback may call every function of this header; what it computes needs another device, and what
 * the running call uses cannot be closed (VKCOME_ERROR_BUSY). It must return: no longjmp, no C++ exception, no thread exit.
 *
 * SIGNALS AND PROCESSES. The library contains the Go runtime, which starts threads and installs signal handlers when it is
 * loaded: with SA_ONSTACK and SA_RESTART, and it forwards to handlers that were there before what does not concern it. A
 * program that installs a handler later does so with SA_ONSTACK, keeps the one that it found and calls it for SIGSEGV,
 * SIGBUS, SIGFPE and SIGURG of threads that are not its own. ^C ends nothing here: trigger a vkcome_cancel. After fork() the
 * child must call nothing of the library before exec(). The library stays loaded until the process ends; dlclose() does
 * not unload it. Environment variables are read as they were when the library was loaded.
 *
 * The library prints nothing, changes no working directory and does not end the process.
 */
#ifndef VKCOME_H
#define VKCOME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this interface, by semantic versioning. MAJOR grows when a program that was compiled before may no longer
 * work: something is gone, or means something else. MINOR grows when something is new: a function, a code, a field of JSON.
 * PATCH grows when a fault of the interface is mended. A program works with a library whose MAJOR is that of its header
 * and whose MINOR is not less. A major version of 0 would promise nothing; this is 1. */
#define VKCOME_ABI_MAJOR 1
#define VKCOME_ABI_MINOR 0
#define VKCOME_ABI_PATCH 0

/* Whether a program that was compiled with this header works with a library: VKCOME_ABI_FITS(vkcome_abi_version()). */
#define VKCOME_ABI_FITS(version) ((version) >> 16 == VKCOME_ABI_MAJOR && ((version) >> 8 & 255) + 1 > VKCOME_ABI_MINOR)

/* Codes. A program must take one that it does not know for an error. */
enum {
	VKCOME_OK = 0,
	VKCOME_ERROR_ARGUMENT = 1,      /* a null pointer, JSON that is none, a field unknown or out of range, a plan that cannot be */
	VKCOME_ERROR_HANDLE = 2,        /* a handle that is closed, was never given, or is of another kind of object */
	VKCOME_ERROR_BUSY = 3,          /* a device that computes, or an object that something uses and that cannot be closed */
	VKCOME_ERROR_CANCELLED = 4,     /* by a vkcome_cancel or a callback */
	VKCOME_ERROR_IO = 5,            /* a file or the network: not there, not allowed, no room */
	VKCOME_ERROR_EXISTS = 6,        /* the output is there already, or the work of an unfinished run; see "force" and "resume" */
	VKCOME_ERROR_MODEL = 7,         /* a model's files are damaged, cut off, contradict one another, or have changed since */
	VKCOME_ERROR_UNSUPPORTED = 8,   /* an architecture or a part of one that vkcome does not compute */
	VKCOME_ERROR_NO_DEVICE = 9,     /* no Vulkan device, or none of that name */
	VKCOME_ERROR_DEVICE = 10,       /* a driver's error, or a device that computes wrong */
	VKCOME_ERROR_DEVICE_LOST = 11,  /* the driver reset the device: close it, and open it anew; models stay open */
	VKCOME_ERROR_OUT_OF_MEMORY = 12,/* of the device, or what the device's driver needs of the host's */
	VKCOME_ERROR_FAILED = 13,       /* a run that ended for another reason, which the text says */
	VKCOME_ERROR_INTERNAL = 14      /* a defect of vkcome, which the text describes; the library stays usable */
};

/* Handles. */
typedef uint64_t vkcome_device;
typedef uint64_t vkcome_model;
typedef uint64_t vkcome_generator;
typedef uint64_t vkcome_cancel;

/* What tells how far a call is. json is one of
 *     {"stage":"score 12 layers","done":3,"total":12}   how far it is; while layers are trained "training" says more
 *     {"note":"..."}                                    a line for people, such as how a run is resumed
 *     {"text":"..."}                                    of vkcome_generate: the next piece of the text
 * user is what the function was given. A result other than 0 cancels the call, which then ends with VKCOME_ERROR_CANCELLED
 * unless all was done by then. */
typedef int (*vkcome_progress)(const char *json, void *user);

#ifndef VKCOME_NO_PROTOTYPES

/* The version of the library's interface: MAJOR << 16 | MINOR << 8 | PATCH. */
uint32_t vkcome_abi_version(void);

/* The version of vkcome, as "0.1.0". The caller frees the text. NULL where there is no memory. */
char *vkcome_version(void);

/* The name of a code, as "VKCOME_ERROR_BUSY", which the caller frees; "unknown" of a number that is no code. */
char *vkcome_code_name(int32_t code);

/* Frees a text that the library gave. NULL is allowed. */
void vkcome_free(char *text);

/* Lists the Vulkan devices, best first, as `vkcome devices --json`: {"devices":[{"index":0,"name":...},...]}. */
int32_t vkcome_devices(char **json, char **error);

/* Opens a device: {"device":"0"} by its index, its UUID or a part of its name, else the best; "max_memory" in bytes bounds
 * what is taken of its memory (80 % of it); "max_tier" is "baseline", "subgroup", "fp16" or "coopmat". */
int32_t vkcome_device_open(const char *options, vkcome_device *device, char **error);

/* What is open: name, driver and limits as vkcome_devices has them, "used_tier", "memory" in bytes that are in use, and
 * "step_down", if it is not empty: why a lower tier is used than the device has. */
int32_t vkcome_device_info(vkcome_device device, char **json, char **error);

/* Closes a device. One that is lost closes like any other. After an error but BUSY and HANDLE it is closed too. */
int32_t vkcome_device_close(vkcome_device device, char **error);

/* Makes a token by which any thread can cancel calls. One token may go to several calls; once triggered it stays so. */
int32_t vkcome_cancel_open(vkcome_cancel *cancel, char **error);
int32_t vkcome_cancel_trigger(vkcome_cancel cancel, char **error);

/* Closes a token. Calls that have it go on, and can no longer be cancelled by it. */
int32_t vkcome_cancel_close(vkcome_cancel cancel, char **error);

/* Opens a model: a Hugging Face folder, a GGUF file, a name on the Hugging Face hub (owner/name), of which is fetched what
 * the cache lacks, or "embedded:tiny12". {"offline":true} fetches nothing. Reads the config and headers; the weights stay
 * in their files, which must not change while the model is open. */
int32_t vkcome_model_open(const char *name, const char *options, vkcome_progress progress, void *user, vkcome_cancel cancel,
	vkcome_model *model, char **error);

/* What the model's files say, as `vkcome inspect --json`. */
int32_t vkcome_model_inspect(vkcome_model model, char **json, char **error);
int32_t vkcome_model_close(vkcome_model model, char **error);

/* Says what vkcome_prune would give and take with the same request: "depths" with parameters and bytes of each depth,
 * "device_bytes" and "host_bytes" at most, "seconds" at most. It runs one layer and writes nothing; "out" is not needed. */
int32_t vkcome_plan(vkcome_device device, vkcome_model model, const char *request, vkcome_progress progress, void *user,
	vkcome_cancel cancel, char **json, char **error);

/* Prunes a model into the folder, or the GGUF file, "out". The result is the lineage that is written as vkcome.json. What
 * is done before an error or a cancellation is kept beside "out"; the same request with "resume" goes on with it. */
int32_t vkcome_prune(vkcome_device device, vkcome_model model, const char *request, vkcome_progress progress, void *user,
	vkcome_cancel cancel, char **json, char **error);

/* Trains the merged layers of a pruned model, the student, against those of the model it was made of, and writes the result
 * as vkcome_prune does. */
int32_t vkcome_distill(vkcome_device device, vkcome_model teacher, vkcome_model student, const char *request,
	vkcome_progress progress, void *user, vkcome_cancel cancel, char **json, char **error);

/* Measures a model: "corpus" its perplexity, "tasks" its accuracy as lm-evaluation-harness measures it. */
int32_t vkcome_evaluate(vkcome_device device, vkcome_model model, const char *request, vkcome_progress progress, void *user,
	vkcome_cancel cancel, char **json, char **error);

/* Prepares a model to generate text on a device, both of which cannot be closed before the generator. The options say how:
 * "max_tokens" (128), "temperature" (0: the most likely token), "top_k", "top_p", "seed", "ignore_eos", and with
 * "chat":true a conversation in the model's chat template, with "system", "template" and "variables". */
int32_t vkcome_generator_open(vkcome_device device, vkcome_model model, const char *options, vkcome_generator *generator,
	char **error);

/* Continues {"prompt":"..."}, or in a chat answers it with the turns before in mind. Pieces of the text go to progress as
 * they come. The result is {"text":...,"tokens":[...],"prompt_tokens":[...]}. After an error or a cancellation the
 * conversation is as it was before the call; after a lost device the generator can only be closed. */
int32_t vkcome_generate(vkcome_generator generator, const char *request, vkcome_progress progress, void *user,
	vkcome_cancel cancel, char **json, char **error);

/* Closes a generator, whose device must not be computing at the time. */
int32_t vkcome_generator_close(vkcome_generator generator, char **error);

#endif /* VKCOME_NO_PROTOTYPES */

#ifdef __cplusplus
}
#endif

#endif /* VKCOME_H */
