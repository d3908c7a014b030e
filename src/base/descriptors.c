/* descriptors.c -- close-on-exec for all open descriptors. See descriptors.h. */
#include "base/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FIRST = 3, ALL_FLAGS_CLOEXEC = 4 /* CLOSE_RANGE_CLOEXEC, which old headers lack */ };

static void set(int fd) {
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0 && !(flags & FD_CLOEXEC))
        fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

/* One by one: for kernels before 5.11, and where a sandbox forbids the call. */
static void set_each(void) {
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) {
        long most = sysconf(_SC_OPEN_MAX);
        for (int fd = FIRST; fd < most && fd < USHRT_MAX; fd++)
            set(fd);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char *end;
        long fd = strtol(entry->d_name, &end, 10);
        if (end != entry->d_name && *end == '\0' && fd >= FIRST)
            set((int)fd);
    }
    closedir(folder);
}

void descriptors_close_on_exec(void) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)FIRST, UINT_MAX, (unsigned)ALL_FLAGS_CLOEXEC) == 0)
        return;
#endif
    set_each();
}
