/* pid_file.c -- the file with the process's number. See pid_file.h. */
#include "server/pid_file.h"

#include "base/error_text.h"
#include "base/file_id.h"
#include "base/mem.h"
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NUMBER_BYTES = 32, /* a longer file holds more than a number */
    MAX_TRIES = 10,    /* to rename, while other processes rename and remove their files */
    CLOCK_SECONDS = 2  /* by which the times of files and of processes may differ */
};

static bool cannot_write(const struct error_text *problem, const char *path) {
    return error_text_fail(problem, "cannot write the pid file %s: %s", path, strerror(errno));
}

/* ---- the file that exists ---- */

/* The number in the file; 0: it is empty; -1: it holds something else. */
static long read_number(int fd) {
    char text[NUMBER_BYTES + 1], *end;
    ssize_t len = pread(fd, text, sizeof text, 0);
    if (len < 0 || len > NUMBER_BYTES)
        return -1;
    text[len] = '\0';
    if (strspn(text, " \t\r\n") == (size_t)len)
        return 0;
    errno = 0;
    long number = strtol(text, &end, 10);
    return errno == 0 && number > 0 && end[strspn(end, " \t\r\n")] == '\0' ? number : -1;
}

/* Does a process of this number run, and did it when the file was written? */
static bool is_writer_alive(long pid, const struct stat *info) {
    double began = pid == (long)getpid() ? -1 : proc_began_at((pid_t)pid);
    return began >= 0 && began <= (double)info->st_mtim.tv_sec + CLOCK_SECONDS;
}

/* Is the open file a leftover? Then this process has locked it until it closes it. */
static bool is_leftover(int fd, const char *path, const struct error_text *problem) {
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return error_text_fail(problem,
                               "the pid file %s exists and is no regular file: name another", path);
    long pid = read_number(fd);
    if (pid < 0)
        return error_text_fail(problem,
                               "%s exists and is no pid file (it holds more than a number): name "
                               "another, or remove it",
                               path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return error_text_fail(
            problem,
            "a server with the pid file %s is running (process %ld); --upgrade replaces it", path,
            pid);
    if (pid > 0 && is_writer_alive(pid, &info)) {
        char name[64];
        return error_text_fail(
            problem, "the pid file %s is that of process %ld (%s), which runs: name another", path,
            pid, proc_name((pid_t)pid, name, sizeof name));
    }
    return true;
}

/* Opens a leftover. Returns -1 with `*good` where there is no file; -1 without `*good` where the
 * file must not be replaced. */
static int open_leftover(const char *path, int flags, bool *good,
                         const struct error_text *problem) {
    *good = true;
    int fd = open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return -1;
    if (fd < 0 && errno == ELOOP)
        *good = error_text_fail(
            problem,
            "the pid file %s is a symbolic link, which is not followed: remove it, or "
            "name the file that it leads to",
            path);
    else if (fd < 0)
        *good = error_text_fail(problem, "cannot read the pid file %s: %s", path, strerror(errno));
    else
        *good = is_leftover(fd, path, problem);
    if (fd >= 0 && !*good) {
        close(fd);
        return -1;
    }
    return fd;
}

bool pid_file_check(const struct pid_file *file, char *error, size_t error_size) {
    struct error_text problem = {error, error_size};
    bool good = true;
    int fd = file->path == NULL ? -1 : open_leftover(file->path, O_RDONLY, &good, &problem);
    if (fd >= 0)
        close(fd);
    return good;
}

/* ---- writing ---- */

static bool write_number(int fd) {
    char text[NUMBER_BYTES];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) == len;
}

/* Returns the descriptor of a new file, or -1. */
static int create(const char *path) {
    int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = open(path, flags, 0644);
    if (fd < 0 && errno == EEXIST &&
        unlink(path) == 0) /* left by a killed process of the same number */
        fd = open(path, flags, 0644);
    return fd;
}

void pid_file_init(struct pid_file *file, const char *path) {
    *file = (struct pid_file){.path = path, .fd = -1};
}

bool pid_file_write(struct pid_file *file, char *error, size_t error_size) {
    struct error_text problem = {error, error_size};
    if (file->path == NULL)
        return true;
    size_t size = strlen(file->path) + 32;
    file->temporary = mem_alloc(size);
    snprintf(file->temporary, size, "%s.%ld", file->path, (long)getpid());
    file->fd = create(file->temporary);
    if (file->fd >= 0 && write_number(file->fd)) {
        flock(file->fd, LOCK_EX | LOCK_NB); /* some file systems have no locks */
        return true;
    }
    int why = errno;
    if (file->fd >= 0) {
        close(file->fd);
        unlink(file->temporary);
    }
    mem_free(file->temporary);
    file->temporary = NULL;
    file->fd = -1;
    errno = why;
    cannot_write(&problem, file->path);
    /* a file that was made for us in a directory where we may not create one: pid_file_place()
     * writes it */
    return why == EACCES && access(file->path, W_OK) == 0;
}

/* ---- placing ---- */

/* Renames unless a file has the new name. */
static bool rename_if_free(const char *from, const char *to) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return true;
    struct stat info;
    if (errno != EINVAL && errno != ENOSYS) /* else the file system lacks RENAME_NOREPLACE */
        return false;
    if (lstat(to, &info) == 0) {
        errno = EEXIST;
        return false;
    }
    return rename(from, to) == 0;
}

/* Is the open file the one at this path? */
static bool is_at(int fd, const char *path) {
    struct stat ours, there;
    return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 &&
           file_id_equal(file_id_of(&ours), file_id_of(&there));
}

/* Renames the written file to its path where there is none, or over a leftover, which this process
 * keeps locked meanwhile. */
static bool claim(struct pid_file *file, const struct error_text *problem) {
    for (int tries = 0; tries < MAX_TRIES; tries++) {
        if (rename_if_free(file->temporary, file->path))
            return true;
        if (errno != EEXIST)
            return cannot_write(problem, file->path);
        bool good, done = false;
        int fd = open_leftover(file->path, O_RDONLY, &good, problem);
        if (!good)
            return false;
        if (fd < 0)
            continue; /* it was removed in between */
        if (is_at(fd, file->path))
            done = rename(file->temporary, file->path) == 0 || !cannot_write(problem, file->path);
        close(fd);
        if (done)
            return is_at(file->fd, file->path);
    }
    return error_text_fail(problem, "the pid file %s changes all the time: other servers use it",
                           file->path);
}

/* Writes into a file that was made for us in a directory where we may not create one. */
static bool fill(struct pid_file *file, const struct error_text *problem) {
    bool good;
    struct stat info;
    int fd = open_leftover(file->path, O_RDWR, &good, problem);
    if (!good)
        return false;
    if (fd < 0)
        return cannot_write(problem, file->path);
    if (fstat(fd, &info) != 0 || info.st_nlink != 1)
        good = error_text_fail(
            problem, "the pid file %s has other names as well (hard links): remove it", file->path);
    else if (!write_number(fd))
        good = cannot_write(problem, file->path);
    if (good)
        file->fd = fd;
    else
        close(fd);
    return good;
}

bool pid_file_place(struct pid_file *file, bool replace, char *error, size_t error_size) {
    struct error_text problem = {error, error_size};
    if (file->path == NULL)
        return true;
    if (file->temporary == NULL)
        file->in_place = fill(file, &problem);
    else if (replace)
        file->in_place =
            rename(file->temporary, file->path) == 0 || cannot_write(&problem, file->path);
    else
        file->in_place = claim(file, &problem);
    if (!file->in_place)
        return false;
    mem_free(file->temporary);
    file->temporary = NULL;
    return true;
}

/* ---- the end ---- */

bool pid_file_restore(struct pid_file *file, char *error, size_t error_size) {
    if (!file->in_place || is_at(file->fd, file->path))
        return true;
    struct pid_file fresh;
    pid_file_init(&fresh, file->path);
    bool good = pid_file_write(&fresh, error, error_size) &&
                pid_file_place(&fresh, false, error, error_size);
    if (good) {
        close(file->fd);
        *file = fresh;
    } else {
        pid_file_remove(&fresh);
    }
    return good;
}

void pid_file_leave(struct pid_file *file) {
    file->in_place = false;
}

void pid_file_remove(struct pid_file *file) {
    /* where it may not be removed, an empty file is left */
    if (file->in_place && is_at(file->fd, file->path) && unlink(file->path) != 0 &&
        ftruncate(file->fd, 0) != 0)
        errno = 0;
    if (file->temporary != NULL)
        unlink(file->temporary);
    if (file->fd >= 0)
        close(file->fd);
    mem_free(file->temporary);
    pid_file_init(file, NULL);
}
