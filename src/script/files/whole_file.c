/* whole_file.c -- reading and writing whole files. See whole_file.h. */
#include "script/files/whole_file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static const char not_regular[] = "it is no regular file";
static const char too_large[] = "it is larger than max_size";

static const char no_right_beside[] =
    "Permission denied in its folder, where the new file is written first; atomic = false writes "
    "into the old file";

/* Opening must not wait for another process, and must not make a terminal the controlling one. */
enum { CAREFUL = O_CLOEXEC | O_NONBLOCK | O_NOCTTY, ALL_MODES = 07777 };

static void fail(struct file_failure *failure, int error, const char *why) {
    *failure = (struct file_failure){error, why};
}

/* Notes a failure unless it is a regular file. */
static bool is_regular(const struct stat *info, struct file_failure *failure) {
    if (S_ISDIR(info->st_mode))
        fail(failure, EISDIR, NULL);
    else if (!S_ISREG(info->st_mode))
        fail(failure, EINVAL, not_regular);
    return S_ISREG(info->st_mode);
}

/* ---- reading ---- */

void whole_file_stop(struct file_reading *reading) {
    if (reading->fd >= 0)
        close(reading->fd);
    reading->fd = -1;
}

/* Looks at the file before it opens it: a FIFO's writer or a device would notice. */
static bool open_file(struct file_reading *reading) {
    struct stat info;
    struct file_failure *failure = &reading->failure;
    if (stat(reading->path, &info) == 0 && !is_regular(&info, failure))
        return false;
    reading->fd = open(reading->path, O_RDONLY | CAREFUL);
    if (reading->fd < 0 || fstat(reading->fd, &info) != 0)
        fail(failure, errno, NULL);
    else if (is_regular(&info, failure) && (uintmax_t)info.st_size > reading->max_bytes)
        fail(failure, EFBIG, too_large);
    if (failure->error != 0)
        return false;
    reading->wanted = (size_t)info.st_size + 1; /* the last byte finds the end */
    if (reading->wanted <= WHOLE_FILE_SMALL) {  /* also /proc, where the size is 0 */
        reading->bytes = reading->small = mem_alloc(WHOLE_FILE_SMALL);
        reading->capacity = WHOLE_FILE_SMALL;
    }
    return true;
}

/* Reads into the memory that there is. */
static void fill(struct file_reading *reading) {
    while (reading->len < reading->capacity) {
        ssize_t count =
            read(reading->fd, reading->bytes + reading->len, reading->capacity - reading->len);
        if (count > 0)
            reading->len += (size_t)count;
        else if (count == 0)
            reading->is_complete = true;
        else if (errno != EINTR)
            fail(&reading->failure, errno, NULL);
        if (reading->len > reading->max_bytes)
            fail(&reading->failure, EFBIG, too_large);
        if (reading->is_complete || reading->failure.error != 0)
            return;
    }
    size_t most = reading->max_bytes + 1, doubled = reading->capacity * 2;
    if (reading->capacity > 0) /* the file has grown, or its size is not known */
        reading->wanted = doubled < most ? doubled : most;
}

void whole_file_read(struct file_reading *reading) {
    if (reading->fd >= 0 || open_file(reading))
        fill(reading);
    if (reading->is_complete || reading->failure.error != 0)
        whole_file_stop(reading);
}

/* ---- writing ---- */

static bool write_all(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t count = write(fd, bytes, len);
        if (count < 0 && errno != EINTR)
            return false;
        if (count > 0) {
            bytes += count;
            len -= (size_t)count;
        }
    }
    return true;
}

/* Writes the content to the open file, and closes it. `mode` -1: the file keeps its own. */
static bool finish(const struct file_writing *writing, int fd, int mode) {
    bool ok = (mode < 0 || fchmod(fd, (mode_t)mode) == 0) &&
              write_all(fd, writing->bytes, writing->len) && (!writing->fsync || fsync(fd) == 0);
    int error = errno;
    if (close(fd) != 0 && ok) /* some file systems report a full disk here */
        return false;
    errno = error;
    return ok;
}

static void write_in_place(struct file_writing *writing) {
    struct stat info;
    struct file_failure *failure = &writing->failure;
    if (stat(writing->path, &info) == 0 && !is_regular(&info, failure))
        return;
    int flags = O_WRONLY | O_CREAT | CAREFUL | (writing->append ? O_APPEND : O_TRUNC);
    int fd = open(writing->path, flags, writing->mode < 0 ? 0666 : writing->mode);
    if (fd < 0 || !finish(writing, fd, writing->mode))
        fail(failure, errno, NULL);
}

/* Makes a file beside the target, with a new name. Returns its descriptor, or -1 and errno. */
static int make_beside(const char *target, char *name, size_t size, mode_t mode) {
    const char *slash = strrchr(target, '/');
    int folder = slash == NULL ? 0 : (int)(slash + 1 - target), fd;
    do {
        uint64_t random = 0;
        if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
            return -1;
        snprintf(name, size, "%.*s.tidewire-%016jx", folder, target, (uintmax_t)random);
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    } while (fd < 0 && errno == EEXIST);
    return fd;
}

/* The new name is on the disk when its folder is. */
static bool sync_folder(const char *target) {
    const char *slash = strrchr(target, '/');
    char *folder = slash == NULL ? mem_strdup(".") : mem_strdup(target);
    if (slash != NULL)
        folder[slash == target ? 1 : slash - target] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    mem_free(folder);
    return ok;
}

/* The permissions with which the new file begins: no more than the old one has. */
static mode_t first_mode(const struct file_writing *writing, const struct stat *old) {
    if (writing->mode >= 0)
        return (mode_t)writing->mode & (S_IRWXU | S_IRWXG | S_IRWXO);
    return old == NULL ? 0666 : old->st_mode & (S_IRWXU | S_IRWXG | S_IRWXO);
}

/* Writes a new file and gives it the target's name. `old`: the file of that name; NULL: none. */
static void replace(struct file_writing *writing, const char *target, const struct stat *old) {
    struct file_failure *failure = &writing->failure;
    size_t size = strlen(target) + sizeof ".tidewire-0123456789abcdef";
    char *name = mem_alloc(size);
    int fd = make_beside(target, name, size, first_mode(writing, old));
    int mode = writing->mode;
    if (mode < 0 && old != NULL)
        mode = (int)(old->st_mode & ALL_MODES);
    if (fd < 0) {
        fail(failure, errno, errno == EACCES ? no_right_beside : NULL);
    } else {
        /* only root may give a file away; others may have no right to it and write it */
        if (old != NULL && fchown(fd, old->st_uid, old->st_gid) != 0)
            errno = 0;
        if (!finish(writing, fd, mode) || rename(name, target) != 0) {
            fail(failure, errno, NULL);
            unlink(name);
        } else if (writing->fsync && !sync_folder(target)) {
            fail(failure, errno, NULL);
        }
    }
    mem_free(name);
}

void whole_file_write(struct file_writing *writing) {
    struct stat info;
    struct file_failure *failure = &writing->failure;
    if (writing->append || writing->in_place) {
        write_in_place(writing);
        return;
    }
    char *target = realpath(writing->path, NULL); /* a symbolic link stays one */
    if (target == NULL && errno != ENOENT) {
        fail(failure, errno, NULL);
    } else if (target == NULL && lstat(writing->path, &info) == 0) {
        write_in_place(writing); /* a link to a file that does not exist yet */
    } else if (target == NULL) {
        replace(writing, writing->path, NULL);
    } else if (stat(target, &info) != 0) {
        fail(failure, errno, NULL);
    } else if (is_regular(&info, failure)) {
        if (faccessat(AT_FDCWD, target, W_OK, AT_EACCESS) == 0)
            replace(writing, target, &info);
        else
            fail(failure, errno, NULL);
    }
    free(target);
}
