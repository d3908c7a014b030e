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

/* Reads the path of the process's group, "/path", from the line of /proc/self/cgroup that has
 * `name`. Empty: there is no such line. */
static void read_group(const char *name, char *group, size_t size) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    const char *at = NULL;
    while (file != NULL && at == NULL && fgets(group, (int)size, file) != NULL)
        at = strstr(group, name);
    size_t len = at == NULL ? 0 : strcspn(at + strlen(name), "\n");
    if (len > 0)
        memmove(group, at + strlen(name), len);
    group[len] = '\0';
    if (file != NULL)
        fclose(file);
}

/* The least number in this file of the group and of those above it, below the folder `top`. */
static size_t least_of(const char *top, char *group, const char *name) {
    char path[4096];
    size_t least = SIZE_MAX;
    for (char *end; (end = strrchr(group, '/')) != NULL; *end = '\0') {
        snprintf(path, sizeof path, "%s%s/%s", top, group, name);
        least = smaller(least, read_number(path));
    }
    snprintf(path, sizeof path, "%s/%s", top, name);
    return smaller(least, read_number(path));
}

/* Version 1 of control groups has a line for the memory, "4:memory:/path", version 2 "0::/path". */
static size_t group_limit(void) {
    char group[2048];
    read_group(":memory:", group, sizeof group);
    size_t least = least_of("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
    read_group("0::", group, sizeof group);
    return smaller(least, least_of("/sys/fs/cgroup", group, "memory.max"));
}

size_t memory_size(void) {
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    size_t size = smaller(SIZE_MAX, machine);
    size = smaller(size, group_limit());
    size = smaller(size, limit_of(RLIMIT_AS));
    return smaller(size, limit_of(RLIMIT_DATA));
}
