/* proc.c -- facts about another process. See proc.h. */
#include "base/proc.h"

#include "base/clock.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The field of /proc/PID/stat (proc(5)), in ticks since the system started. */
enum { STARTTIME = 22 };

/* The beginning of a file, NUL-terminated. False: it cannot be read. */
static bool read_text(pid_t pid, const char *name, char *out, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, out, size - 1);
    if (fd >= 0)
        close(fd);
    out[len > 0 ? len : 0] = '\0';
    return len > 0;
}

double proc_began_at(pid_t pid) {
    char text[1024];
    if (!read_text(pid, "stat", text, sizeof text))
        return -1;
    const char *at = strrchr(text, ')'); /* the name before it may contain any byte */
    if (at != NULL && (strncmp(at, ") Z", 3) == 0 || strncmp(at, ") X", 3) == 0))
        return -1; /* it has ended, and its parent has not read its exit code yet */
    for (int field = 2; at != NULL && field < STARTTIME; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return -1;
    double since_boot = strtod(at + 1, NULL) / (double)sysconf(_SC_CLK_TCK);
    return clock_wall_seconds() - (double)clock_ns(CLOCK_BOOTTIME) / 1e9 + since_boot;
}

const char *proc_name(pid_t pid, char *out, size_t size) {
    if (!read_text(pid, "comm", out, size))
        snprintf(out, size, "unknown");
    out[strcspn(out, "\n")] = '\0';
    return out;
}
