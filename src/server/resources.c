/* resources.c -- the process's limits of descriptors, its settings of malloc, and its memory. See
 * resources.h. */
#include "server/resources.h"

#include "base/log/log.h"
#include "base/mem.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

/* Descriptors beside the connections: listeners, files, handshakes under way, outgoing
 * requests. */
enum { SPARE_DESCRIPTORS = 4096 };

void resources_raise_descriptors(uint32_t connections) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)connections + SPARE_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    /* not the hard limit: each transport has a table of this size */
    limit.rlim_cur =
        limit.rlim_max == RLIM_INFINITY || wanted < limit.rlim_max ? wanted : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        log_eventf(
            LOG_WARN, "limits",
            "only %llu file descriptors are allowed, limits.connections may need %llu; raise "
            "the hard limit (ulimit -Hn)",
            (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
}

/* Larger blocks of libuv's may fail: arrays of a size that scripts choose. */
enum { UV_SMALL_BYTES = 64 * 1024 };

static void *uv_alloc(size_t size) {
    return size <= UV_SMALL_BYTES ? mem_alloc(size) : malloc(size);
}

static void *uv_alloc_again(void *block, size_t size) {
    return size <= UV_SMALL_BYTES ? mem_realloc(block, size) : realloc(block, size);
}

static void *uv_alloc_zeros(size_t count, size_t size) {
    bool is_small = size != 0 && count <= UV_SMALL_BYTES / size;
    return is_small ? mem_zalloc(count * size) : calloc(count, size);
}

void resources_replace_uv_allocator(void) {
    uv_replace_allocator(uv_alloc, uv_alloc_again, uv_alloc_zeros, mem_free);
}

/* malloc keeps freed memory: to return it to the system and allocate it again for each batch of
 * messages costs a page fault per message (measured: a quarter of the time of 1 KiB messages). The
 * workers return the memory of many closed connections (worker.c), and a process that has little to
 * do that of a peak (memory_trim.c). */
void resources_tune_malloc(void) {
    mem_open_reserve();
    mallopt(M_TRIM_THRESHOLD, 16 * 1024 * 1024);
    mallopt(M_TOP_PAD, 1024 * 1024);
    mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
    mallopt(M_ARENA_MAX, 1); /* the main arena alone grows by M_TOP_PAD */
}

void resources_allow_arenas(unsigned workers) {
    mallopt(M_ARENA_MAX, (int)workers + 1);
}

uint64_t resources_resident_bytes(void) {
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
