/* Uses the library wrongly in every way that a C program can, from several threads at once: each call gives a code, and none crashes.
 *
 *     wrong MODEL TOKENS FOLDER
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vkcome.h"

static vkcome_device device;
static vkcome_model model;
static const char *tokens, *folder;

static void is(const char *what, int32_t wanted, int32_t code, char **error) {
	if (code != wanted || (code && error && !(*error && **error && !strchr(*error, '\n'))) || (!code && error && *error)) {
		fprintf(stderr, "%s: code %d, expected %d: %s\n", what, (int)code, (int)wanted, error && *error ? *error : "no text");
		exit(1);
	}
	if (error) {
		vkcome_free(*error);
		*error = NULL;
	}
}

#define IS(wanted, call) do { int32_t code_ = (call); is(#call, wanted, code_, &error); } while (0)

static int silent(const char *json, void *user) {
	(void)user;
	return json == NULL;
}

static int again(const char *json, void *user) { /* what the running call has cannot be used, or closed */
	char *error = NULL, *text = (char *)1;
	(void)json;
	IS(VKCOME_ERROR_BUSY, vkcome_device_close(device, &error));
	IS(VKCOME_ERROR_BUSY, vkcome_model_close(model, &error));
	IS(VKCOME_ERROR_BUSY, vkcome_evaluate(device, model, "{\"tasks\":[\"arc_easy\"]}", NULL, NULL, 0, &text, &error));
	if (text) exit(1);
	++*(int *)user;
	return 1;
}

static void *abuse(void *arg) {
	char *error = NULL, *text = NULL, request[4096];
	vkcome_device d = 7;
	vkcome_model m = 7;
	vkcome_cancel c;
	vkcome_generator g = 7;
	long seed = (long)arg;
	for (int i = 0; i < 30; i++) {
		/* null pointers */
		IS(VKCOME_ERROR_ARGUMENT, vkcome_devices(NULL, &error));
		IS(VKCOME_ERROR_ARGUMENT, vkcome_device_open(NULL, NULL, &error));
		is("no place for a text", VKCOME_ERROR_ARGUMENT, vkcome_devices(NULL, NULL), NULL);
		IS(VKCOME_ERROR_ARGUMENT, vkcome_model_open(NULL, NULL, NULL, NULL, 0, &m, &error));
		if (m) exit(1);
		IS(VKCOME_ERROR_ARGUMENT, vkcome_prune(device, model, NULL, NULL, NULL, 0, NULL, &error));
		IS(VKCOME_ERROR_ARGUMENT, vkcome_evaluate(device, model, NULL, NULL, NULL, 0, &text, &error)); /* nothing to measure */
		vkcome_free(NULL);
		/* handles that are none, stale, or of another kind */
		vkcome_device no[] = {0, (vkcome_device)model, 1u << 30, UINT64_MAX, UINT64_MAX - (uint64_t)seed};
		for (size_t k = 0; k < sizeof no / sizeof *no; k++) {
			IS(VKCOME_ERROR_HANDLE, vkcome_device_info(no[k], &text, &error));
			IS(VKCOME_ERROR_HANDLE, vkcome_device_close(no[k], &error));
			IS(VKCOME_ERROR_HANDLE, vkcome_evaluate(no[k], model, "{\"tasks\":[\"arc_easy\"]}", silent, NULL, 0, &text, &error));
			IS(VKCOME_ERROR_HANDLE, vkcome_generator_open(no[k], model, NULL, &g, &error));
			IS(VKCOME_ERROR_HANDLE, vkcome_generate(no[k], "{}", NULL, NULL, 0, &text, &error));
			IS(VKCOME_ERROR_HANDLE, vkcome_generator_close(no[k], &error));
			IS(VKCOME_ERROR_HANDLE, vkcome_cancel_trigger(no[k], &error));
		}
		if (g) exit(1);
		IS(VKCOME_ERROR_HANDLE, vkcome_model_inspect(device, &text, &error));
		IS(VKCOME_OK, vkcome_cancel_open(&c, &error));
		IS(VKCOME_OK, vkcome_cancel_trigger(c, &error));
		IS(VKCOME_ERROR_CANCELLED, vkcome_model_open("embedded:tiny12", NULL, silent, NULL, c, &m, &error));
		IS(VKCOME_OK, vkcome_cancel_close(c, &error));
		IS(VKCOME_ERROR_HANDLE, vkcome_cancel_close(c, &error));
		IS(VKCOME_ERROR_HANDLE, vkcome_model_open("embedded:tiny12", NULL, NULL, NULL, c, &m, &error));
		IS(VKCOME_OK, vkcome_model_open("embedded:tiny12", "{}", silent, NULL, 0, &m, &error));
		IS(VKCOME_OK, vkcome_model_inspect(m, &text, &error));
		vkcome_free(text);
		IS(VKCOME_OK, vkcome_model_close(m, &error));
		IS(VKCOME_ERROR_HANDLE, vkcome_model_close(m, &error));
		/* texts that are no UTF-8, no JSON, or of other fields */
		const char *bad[] = {"\xff\xfe", "{", "[]", "null", "7", "{}{}", "{\"device\":7}", "{\"devise\":\"0\"}", "{\"max_memory\":-1}", "{\"max_tier\":\"top\"}", "{\"device\":\"\xc3\"}", "{\"max_memory\":1e99}"};
		for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
			IS(VKCOME_ERROR_ARGUMENT, vkcome_device_open(bad[k], &d, &error));
			IS(VKCOME_ERROR_ARGUMENT, vkcome_prune(device, model, bad[k], NULL, NULL, 0, &text, &error));
			IS(VKCOME_ERROR_ARGUMENT, vkcome_generator_open(device, model, bad[k], &g, &error));
			if (d || text || g) exit(1);
		}
		IS(VKCOME_ERROR_ARGUMENT, vkcome_model_open("\xff", NULL, NULL, NULL, 0, &m, &error));
		IS(VKCOME_ERROR_ARGUMENT, vkcome_model_open("", NULL, NULL, NULL, 0, &m, &error));
		IS(VKCOME_ERROR_IO, vkcome_model_open("/nowhere", "{\"offline\":true}", NULL, NULL, 0, &m, &error));
		IS(VKCOME_ERROR_NO_DEVICE, vkcome_device_open("{\"device\":\"no such device\"}", &d, &error));
		char *deep = calloc(1, 100001);
		memset(deep, '[', 100000);
		IS(VKCOME_ERROR_ARGUMENT, vkcome_device_open(deep, &d, &error));
		free(deep);
		text = vkcome_code_name((int32_t)(i * 7919 - 100));
		vkcome_free(text);
		text = NULL;
	}
	snprintf(request, sizeof request, "{\"out\":\"%s\",\"target_layers\":8,\"method\":\"come\",\"corpus\":{\"token_file\":\"%s\",\"window\":64}}", folder, tokens);
	int32_t code = vkcome_prune(device, model, request, NULL, NULL, 0, &text, &error);
	is("a folder that exists", code == VKCOME_ERROR_BUSY ? code : VKCOME_ERROR_EXISTS, code, &error); /* another thread may have the device */
	return NULL;
}

int main(int argc, char **argv) {
	char *error = NULL, *text = NULL, request[4096];
	pthread_t threads[4];
	int called = 0;
	if (argc < 4) return 2;
	tokens = argv[2], folder = argv[3];
	IS(VKCOME_OK, vkcome_device_open(NULL, &device, &error));
	IS(VKCOME_OK, vkcome_model_open(argv[1], NULL, NULL, NULL, 0, &model, &error));
	for (long i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, abuse, (void *)i)) return 1;
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);

	snprintf(request, sizeof request, "{\"corpus\":{\"token_file\":\"%s\",\"window\":64,\"windows\":4}}", tokens);
	IS(VKCOME_ERROR_CANCELLED, vkcome_evaluate(device, model, request, again, &called, 0, &text, &error));
	if (called != 1) return 1;
	IS(VKCOME_OK, vkcome_evaluate(device, model, request, silent, (void *)1, 0, &text, &error)); /* user is any number */
	printf("%s\n", text);
	vkcome_free(text);
	IS(VKCOME_OK, vkcome_device_close(device, &error));
	IS(VKCOME_ERROR_HANDLE, vkcome_device_close(device, &error));
	IS(VKCOME_ERROR_HANDLE, vkcome_evaluate(device, model, request, silent, NULL, 0, &text, &error));
	IS(VKCOME_OK, vkcome_model_close(model, &error));
	printf("done\n");
	return 0;
}
