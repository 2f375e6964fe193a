#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

// What Go 1.26 reserves to begin with is some 700 MiB, most of which it never touches. With limits from 1200 to 1350 MiB it reserves more, and then has
// no room for its heap.
#define LEAST (1536ull << 20)

// Below it threads share one arena of malloc: an arena of its own reserves 64 MiB for each, 128 at first, and how many threads Go starts is chance.
#define AMPLE (8192ull << 20)

// A constructor runs before Go's runtime is initialized, so it uses no Go and allocates nothing.
__attribute__((constructor)) static void check_address_space(void) {
	struct rlimit limit;
	if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur >= AMPLE) return; // RLIM_INFINITY is the largest number
#ifdef __GLIBC__
	mallopt(M_ARENA_MAX, 1);
#endif
	if (limit.rlim_cur >= LEAST) return;
	char line[200];
	int n = snprintf(line, sizeof line, "vkcome: the address space is limited to %llu MiB (ulimit -v), expected at least %llu MiB\n",
		(unsigned long long)limit.rlim_cur >> 20, LEAST >> 20);
	if (n > 0 && write(2, line, (size_t)n) < 0) _exit(1);
	_exit(1);
}
