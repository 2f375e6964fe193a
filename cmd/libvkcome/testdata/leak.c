/* Opens and closes what the library has, over and over, and says what the process holds after a tenth of the cycles and in the end.
 *
 *     leak CYCLES MODEL [TOKENS FOLDER]     with TOKENS each cycle opens a device too, and every hundredth prunes into FOLDER
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vkcome.h"

static char *error;

static void is(const char *what, int32_t wanted, int32_t code) {
	if (code != wanted) {
		fprintf(stderr, "%s: code %d, expected %d: %s\n", what, (int)code, (int)wanted, error ? error : "no error");
		exit(1);
	}
	vkcome_free(error);
	error = NULL;
}

static int entries(const char *path) {
	int n = 0;
	DIR *d = opendir(path);
	while (d && readdir(d)) n++;
	if (d) closedir(d);
	return n;
}

static void held(int cycle) {
	long pages = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f || fscanf(f, "%ld %ld", &pages, &resident) != 2) exit(1);
	fclose(f);
	printf("{\"cycle\":%d,\"resident\":%ld,\"files\":%d,\"threads\":%d}\n", cycle, resident * sysconf(_SC_PAGESIZE), entries("/proc/self/fd"), entries("/proc/self/task"));
	fflush(stdout);
}

static int listen_to(const char *json, void *user) {
	(void)json;
	++*(int *)user;
	return 0;
}

int main(int argc, char **argv) {
	int cycles = atoi(argv[1]), events = 0;
	for (int i = 1; i <= cycles; i++) {
		vkcome_device device = 0;
		vkcome_model model;
		vkcome_cancel cancel;
		char *json, request[2048];
		is("cancel", VKCOME_OK, vkcome_cancel_open(&cancel, &error));
		is("model", VKCOME_OK, vkcome_model_open(argv[2], NULL, listen_to, &events, cancel, &model, &error));
		is("inspect", VKCOME_OK, vkcome_model_inspect(model, &json, &error));
		vkcome_free(json);
		is("no model", VKCOME_ERROR_IO, vkcome_model_open("/nowhere/at/all", "{\"offline\":true}", NULL, NULL, 0, &(vkcome_model){0}, &error));
		if (argc > 3) {
			is("device", VKCOME_OK, vkcome_device_open(NULL, &device, &error));
			is("info", VKCOME_OK, vkcome_device_info(device, &json, &error));
			vkcome_free(json);
			if (i % 100 == 50) {
				snprintf(request, sizeof request, "{\"target_layers\":8,\"method\":\"shortgpt\",\"out\":\"%s/out\",\"force\":true,\"corpus\":{\"token_file\":\"%s\",\"window\":64,\"windows\":4}}",
					argv[4], argv[3]);
				is("prune", VKCOME_OK, vkcome_prune(device, model, request, listen_to, &events, cancel, &json, &error));
				vkcome_free(json);
			}
			is("close the device", VKCOME_OK, vkcome_device_close(device, &error));
		}
		is("trigger", VKCOME_OK, vkcome_cancel_trigger(cancel, &error));
		is("close the token", VKCOME_OK, vkcome_cancel_close(cancel, &error));
		is("close the model", VKCOME_OK, vkcome_model_close(model, &error));
		is("stale", VKCOME_ERROR_HANDLE, vkcome_model_close(model, &error));
		if (i == cycles / 10 || i == cycles) held(i);
	}
	return argc > 3 && !events;
}
