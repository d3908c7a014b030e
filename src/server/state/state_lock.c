/* state_lock.c -- the file of the process that uses a state file. See state_lock.h. */
#include "server/state/state_lock.h"

#include "base/file_id.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NUMBER_BYTES = 32, MAX_TRIES = 10 };

static long read_number(int fd) {
    char text[NUMBER_BYTES];
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    return strtol(text, NULL, 10);
}

/* Is the open file the one at this path? */
static bool is_at(int fd, const char *path) {
    struct stat ours, there;
    return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 &&
           file_id_equal(file_id_of(&ours), file_id_of(&there));
}

/* Opens the file. Returns -1, with errno. */
static int open_file(const char *path) {
    struct stat info;
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd >= 0 && (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))) {
        close(fd);
        errno = EEXIST;
        return -1;
    }
    return fd;
}

bool state_lock_take(struct state_lock *lock, const char *file, const struct error_text *problem) {
    char *path = mem_concat(file, ".running");
    *lock = (struct state_lock){.path = path, .fd = -1};
    problem->text[0] = '\0';
    for (int tries = 0; tries < MAX_TRIES; tries++) {
        int fd = open_file(path);
        if (fd < 0) {
            int why = errno;
            error_text_fail(problem, "cannot create %s: %s", path, strerror(why));
            if (why == ENOSPC || why == EDQUOT)
                return true;
            break;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            error_text_fail(problem, "another server uses the state file %s (process %ld)", file,
                            read_number(fd));
            close(fd);
            break;
        }
        if (is_at(fd, path)) {
            lock->fd = fd;
            lock->lost = read_number(fd);
            return true;
        }
        close(fd); /* the process before has removed it in between */
    }
    mem_free(path);
    *lock = (struct state_lock){.fd = -1};
    return false;
}

void state_lock_mark(struct state_lock *lock, bool serves) {
    char text[NUMBER_BYTES];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (lock->fd < 0)
        return;
    if (ftruncate(lock->fd, 0) != 0 || (serves && pwrite(lock->fd, text, (size_t)len, 0) != len))
        errno = 0; /* a full disk: a kill is not noticed */
}

void state_lock_release(struct state_lock *lock, bool keep) {
    if (lock->fd >= 0) {
        if (!keep && is_at(lock->fd, lock->path))
            unlink(lock->path);
        close(lock->fd);
    }
    mem_free(lock->path);
    *lock = (struct state_lock){.fd = -1};
}
