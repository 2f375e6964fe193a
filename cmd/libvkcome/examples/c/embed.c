/* A program that embeds vkcome: it prunes a model with progress, cancels another run, generates text, and goes on after a model that is cut off
 * and a device that is lost.
 *
 *     make lib
 *     cc -std=c99 -Ibin cmd/libvkcome/examples/c/embed.c -Lbin -lvkcome -Wl,-rpath,"$PWD/bin" -o embed
 *     ./embed embedded:tiny12 testdata/golden/calib_tokens.json FOLDER [BROKEN]
 *
 * FOLDER is an empty folder for the output; BROKEN is a model that is not whole.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vkcome.h"

/* The text of the last error. It stands by itself, as C does not say which argument of a call is looked at first. */
static char *error;

/* must ends the program where a call that has to work does not. */
static void must(const char *what, int32_t code) {
	if (code == VKCOME_OK) return;
	char *name = vkcome_code_name(code);
	fprintf(stderr, "%s: %s: %s\n", what, name, error);
	vkcome_free(name);
	vkcome_free(error);
	exit(1);
}

/* expect ends the program where a call does not fail as it has to. */
static void expect(const char *what, int32_t wanted, int32_t code) {
	if (code != wanted) {
		fprintf(stderr, "%s: code %d, expected %d: %s\n", what, (int)code, (int)wanted, error ? error : "no error");
		exit(1);
	}
	printf("%s: %s\n", what, error);
	vkcome_free(error);
}

/* quoted writes a text as a string of JSON. */
static const char *quoted(const char *text, char *out, size_t room) {
	size_t n = 0;
	out[n++] = '"';
	for (; *text && n + 3 < room; text++) {
		if (*text == '"' || *text == '\\') out[n++] = '\\';
		out[n++] = *text;
	}
	out[n++] = '"';
	out[n] = 0;
	return out;
}

struct following {
	int events;
	int most; /* after so many the run is cancelled; 0: never */
};

static int progress(const char *json, void *user) {
	struct following *f = user;
	f->events++;
	if (f->events % 20 == 1) printf("  %s\n", json);
	return f->most && f->events >= f->most;
}

static int piece(const char *json, void *user) {
	(void)user;
	printf("  %s\n", json);
	return 0;
}

/* prune_to prunes a model to 8 layers. */
static int32_t prune_to(vkcome_device device, vkcome_model model, const char *tokens, const char *out, int resume, struct following *f) {
	char request[4096], a[1024], b[1024], *lineage = NULL;
	snprintf(request, sizeof request, "{\"target_layers\":8,\"method\":\"come\",\"out\":%s,\"resume\":%s,\"corpus\":{\"token_file\":%s,\"window\":128}}",
		quoted(out, a, sizeof a), resume ? "true" : "false", quoted(tokens, b, sizeof b));
	int32_t code = vkcome_prune(device, model, request, progress, f, 0, &lineage, &error);
	if (code == VKCOME_OK) printf("lineage: %.60s...\n", lineage);
	vkcome_free(lineage);
	return code;
}

int main(int argc, char **argv) {
	if (argc < 4) {
		fprintf(stderr, "usage: embed MODEL TOKENS FOLDER [BROKEN]\n");
		return 2;
	}
	uint32_t abi = vkcome_abi_version();
	if (!VKCOME_ABI_FITS(abi)) {
		fprintf(stderr, "the library has another interface: %u.%u\n", (unsigned)(abi >> 16), (unsigned)(abi >> 8 & 255));
		return 1;
	}
	char *text, out[1024], other[1024];
	must("devices", vkcome_devices(&text, &error));
	printf("devices: %.80s...\n", text);
	vkcome_free(text);

	vkcome_device device;
	vkcome_model model, pruned;
	must("open the device", vkcome_device_open(NULL, &device, &error));
	must("open the model", vkcome_model_open(argv[1], NULL, NULL, NULL, 0, &model, &error));
	must("inspect", vkcome_model_inspect(model, &text, &error));
	printf("model: %.80s...\n", text);
	vkcome_free(text);

	if (argc > 4) { /* a model that is cut off is an error like any other */
		int32_t code = vkcome_model_open(argv[4], NULL, NULL, NULL, 0, &pruned, &error);
		expect("a truncated model", VKCOME_ERROR_MODEL, code);
	}

	struct following f = {0, 0}, cancelled = {0, 3};
	snprintf(out, sizeof out, "%s/pruned", argv[3]);
	int32_t code = prune_to(device, model, argv[2], out, 0, &f);
	if (code == VKCOME_ERROR_DEVICE_LOST) { /* open it anew, and go on with what was done */
		printf("lost: %s\n", error);
		vkcome_free(error);
		vkcome_device_close(device, NULL); /* that it is lost is known */
		must("open the device anew", vkcome_device_open(NULL, &device, &error));
		code = prune_to(device, model, argv[2], out, 1, &f);
	}
	must("prune", code);
	printf("pruned, with %s\n", f.events > 10 ? "progress" : "too little progress");

	snprintf(other, sizeof other, "%s/cancelled", argv[3]);
	code = prune_to(device, model, argv[2], other, 0, &cancelled);
	expect("a cancelled run", VKCOME_ERROR_CANCELLED, code);

	must("open the pruned model", vkcome_model_open(out, NULL, NULL, NULL, 0, &pruned, &error));
	vkcome_generator generator;
	must("open a generator", vkcome_generator_open(device, pruned, "{\"max_tokens\":12}", &generator, &error));
	must("generate", vkcome_generate(generator, "{\"prompt\":\"The film is\"}", piece, NULL, 0, &text, &error));
	printf("generated: %s\n", text);
	vkcome_free(text);

	expect("a device in use", VKCOME_ERROR_BUSY, vkcome_device_close(device, &error));
	must("close the generator", vkcome_generator_close(generator, &error));
	must("close the pruned model", vkcome_model_close(pruned, &error));
	must("close the model", vkcome_model_close(model, &error));
	must("close the device", vkcome_device_close(device, &error));
	printf("done\n");
	return 0;
}
