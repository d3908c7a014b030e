/* beneath.c -- opens files below a folder, and nothing outside of it. See beneath.h.
 *
 * openat2(2) opens the file, and the kernel refuses to leave the folder. Where the system has no
 * such call, or a symbolic link is absolute (it may lead into the folder again), the links are
 * resolved first, and the result is opened name by name without following links: a program that
 * changes the folder meanwhile cannot lead it outside either. */
#include "net/http/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* O_NONBLOCK: opening a named pipe must not wait for its writer. */
enum { OPEN_FLAGS = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK };

bool beneath_init(struct beneath *root, const char *folder) {
    *root = (struct beneath){open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC), folder};
    return root->fd >= 0;
}

void beneath_close(struct beneath *root) {
    close(root->fd);
}

/* Opens `path`, which has neither symbolic links nor "..", name by name, so that a name which
 * becomes a link meanwhile is refused. Changes `path`. */
static int open_by_names(int folder, char *path) {
    int fd = folder;
    for (char *name = path; name != NULL;) {
        char *slash = strchr(name, '/');
        if (slash != NULL)
            *slash = '\0';
        int flags = slash == NULL ? OPEN_FLAGS : O_PATH | O_DIRECTORY | O_CLOEXEC;
        int next = openat(fd, *name == '\0' ? "." : name, flags | O_NOFOLLOW);
        int why = errno;
        if (fd != folder)
            close(fd);
        errno = why;
        if (next < 0)
            return -1;
        fd = next;
        name = slash == NULL ? NULL : slash + 1;
    }
    return fd;
}

/* Resolves all links of `full` and opens it, when it is still below the folder `top`, which is
 * absolute and without links. */
static int open_real(int folder, const char *top, const char *full) {
    char *real = realpath(full, NULL);
    if (real == NULL)
        return -1;
    size_t len = strcmp(top, "/") == 0 ? 0 : strlen(top);
    int fd = -1;
    if (strncmp(real, top, len) == 0 && (real[len] == '/' || real[len] == '\0'))
        fd = open_by_names(folder, real[len] == '/' ? real + len + 1 : real + len);
    else
        errno = ENOENT;
    int why = errno;
    free(real);
    errno = why;
    return fd;
}

static int open_resolved(const struct beneath *root, const char *path) {
    char full[2 * PATH_MAX], *top = realpath(root->path, NULL);
    if (top == NULL)
        return -1;
    int fd = -1;
    if ((size_t)snprintf(full, sizeof(full), "%s/%s", top, path) < sizeof(full))
        fd = open_real(root->fd, top, full);
    else
        errno = ENAMETOOLONG;
    int why = errno;
    free(top);
    errno = why;
    return fd;
}

int beneath_open(const struct beneath *root, const char *path) {
    struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, root->fd, *path == '\0' ? "." : path, &how, sizeof(how));
    if (fd >= 0)
        return fd;
    switch (errno) {
    case EXDEV:  /* a link that is absolute or leads outside */
    case EAGAIN: /* the folder was changed meanwhile */
    case ENOSYS: /* an old kernel, or a container that does not know the call */
    case EPERM:
    case EINVAL:
    case E2BIG:
        return open_resolved(root, path);
    default:
        return -1;
    }
}
