#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

// What Go 1.26 reserves to begin with is some 700 MiB, most of which it never touches.
#define LEAST (1024ull << 20)

// A constructor runs before Go's runtime is initialized, so it uses no Go and allocates nothing.
__attribute__((constructor)) static void check_address_space(void) {
	struct rlimit limit;
	if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= LEAST) return;
	char line[200];
	int n = snprintf(line, sizeof line, "vkcome: the address space is limited to %llu MiB (ulimit -v), expected at least %llu MiB\n",
		(unsigned long long)limit.rlim_cur >> 20, LEAST >> 20);
	if (n > 0 && write(2, line, (size_t)n) < 0) _exit(1);
	_exit(1);
}
