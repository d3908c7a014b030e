/* memory_size.c -- how much memory the process may have. See memory_size.h. */
#include "base/memory_size.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static size_t smaller(size_t one, uint64_t other) {
    return other != 0 && other < one ? (size_t)other : one;
}

static size_t limit_of(__rlimit_resource_t resource) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return (size_t)limit.rlim_cur;
}

/* Reads the first line of a file, without its end. Empty: it cannot be read. */
static void read_line(const char *path, char *line, size_t size) {
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(line, (int)size, file) == NULL)
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (file != NULL)
        fclose(file);
}

/* The number in a file; 0: there is none, or it says "max". */
static uint64_t read_number(const char *path) {
    char line[64];
    read_line(path, line, sizeof line);
    return strtoull(line, NULL, 10);
}

/* Version 2 of control groups has the line "0::/path" alone. */
static size_t group_limit(void) {
    char line[2048], path[4096];
    size_t least = SIZE_MAX;
    read_line("/proc/self/cgroup", line, sizeof line);
    if (strncmp(line, "0::/", 4) != 0)
        return smaller(least, read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    char *group = line + 3; /* "/path" */
    for (char *end; (end = strrchr(group, '/')) != NULL; *end = '\0') {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
        least = smaller(least, read_number(path));
    }
    return smaller(least, read_number("/sys/fs/cgroup/memory.max"));
}

size_t memory_size(void) {
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    size_t size = smaller(SIZE_MAX, machine);
    size = smaller(size, group_limit());
    size = smaller(size, limit_of(RLIMIT_AS));
    return smaller(size, limit_of(RLIMIT_DATA));
}
