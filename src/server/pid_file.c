/* pid_file.c -- the file with the process's number. See pid_file.h. */
#include "server/pid_file.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool write_number(const char *path) {
    FILE *out = fopen(path, "w");
    if (out == NULL)
        return false;
    fprintf(out, "%ld\n", (long)getpid());
    return fclose(out) == 0;
}

static bool fail(const struct pid_file *file, char *error, size_t error_size) {
    snprintf(error, error_size, "cannot write the pid file %s: %s", file->path, strerror(errno));
    return false;
}

bool pid_file_write(struct pid_file *file, const char *path, char *error, size_t error_size) {
    *file = (struct pid_file){.path = path};
    if (path == NULL)
        return true;
    size_t size = strlen(path) + 32;
    file->beside = mem_alloc(size);
    snprintf(file->beside, size, "%s.%ld", path, (long)getpid());
    if (write_number(file->beside))
        return true;
    fail(file, error, error_size);
    bool may_be_there = errno == EACCES && access(path, W_OK) == 0;
    unlink(file->beside);
    mem_free(file->beside);
    file->beside = NULL;
    return may_be_there; /* made for us in a folder that is not ours: written when its time comes */
}

bool pid_file_place(struct pid_file *file, char *error, size_t error_size) {
    if (file->path == NULL)
        return true;
    bool good =
        file->beside != NULL ? rename(file->beside, file->path) == 0 : write_number(file->path);
    if (!good)
        return fail(file, error, error_size);
    mem_free(file->beside);
    file->beside = NULL;
    file->in_place = true;
    return true;
}

/* Another process that was started meanwhile may have put its own in the place. */
static bool is_ours(const char *path) {
    long pid = 0;
    FILE *in = fopen(path, "r");
    if (in == NULL)
        return false;
    bool read = fscanf(in, "%ld", &pid) == 1;
    fclose(in);
    return read && pid == (long)getpid();
}

void pid_file_leave(struct pid_file *file) {
    file->in_place = false;
}

void pid_file_remove(struct pid_file *file) {
    if (file->in_place && is_ours(file->path))
        unlink(file->path);
    if (file->beside != NULL)
        unlink(file->beside);
    mem_free(file->beside);
    *file = (struct pid_file){0};
}
