/* meter.c -- what the server under load has spent, as the kernel counts it. See meter.h. */
#include "meter.h"

#include "load.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t meter_cpu_ns(void) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task", options.pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        fail("there is no process %d", options.pid);
    uint64_t sum = 0;
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", options.pid, task->d_name);
        FILE *file = fopen(path, "r");
        unsigned long long ns = 0;
        if (file == NULL || fscanf(file, "%llu", &ns) != 1)
            fail("%s cannot be read", path);
        fclose(file);
        sum += ns;
    }
    closedir(tasks);
    return sum;
}

long meter_memory_bytes(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", options.pid);
    FILE *file = fopen(path, "r");
    long pages = 0;
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1)
        fail("%s cannot be read", path);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

long meter_open_files(void) {
    char path[64];
    struct stat status;
    snprintf(path, sizeof path, "/proc/%d/fd", options.pid);
    if (stat(path, &status) != 0)
        fail("there is no process %d", options.pid);
    if (status.st_size > 0)
        return (long)status.st_size;
    DIR *files = opendir(path);
    if (files == NULL)
        fail("%s cannot be read", path);
    long count = -2; /* "." and ".." */
    while (readdir(files) != NULL)
        count++;
    closedir(files);
    return count;
}
