/* whole_file.h -- reading and writing whole files. Every function blocks: for a thread of libuv's
 * pool. Knows no Lua.
 *
 * Only regular files: reading a FIFO or a terminal could block the thread for ever. */
#ifndef TIDEWIRE_SCRIPT_FILES_WHOLE_FILE_H
#define TIDEWIRE_SCRIPT_FILES_WHOLE_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Why reading or writing has failed. All zeros: it has not. */
struct file_failure {
    int error;       /* errno */
    const char *why; /* a sentence instead of the one of `error`; NULL: there is none */
};

/* A file up to this size is read in one step, into memory that whole_file_read() allocates. */
enum { WHOLE_FILE_SMALL = 64 * 1024 };

struct file_reading {
    const char *path; /* the caller's */
    size_t max_bytes;
    int fd;      /* -1 before the first step, and at the end */
    char *small; /* of the first step; the caller frees it with mem_free() */
    char *bytes; /* `small`, or the caller's; NULL at the beginning */
    size_t capacity, len;
    size_t wanted; /* bytes of memory that the next step needs */
    bool is_complete;
    struct file_failure failure;
};

/* Reads until the file ends, the memory is full, or reading fails. If it is neither complete nor
 * has failed, the caller gives it `wanted` bytes of memory, with the first `len` copied, and calls
 * it again. Otherwise `fd` is closed. */
void whole_file_read(struct file_reading *reading);
/* Closes the file of a reading that has not ended. */
void whole_file_stop(struct file_reading *reading);

struct file_writing {
    const char *path, *bytes; /* the caller's */
    size_t len;
    int mode;      /* permissions that the file gets; -1: its old ones, or those of a new file */
    bool in_place; /* not by a new file that gets the name */
    bool append;   /* at the end of the file, in place */
    bool fsync;    /* return when the disk has it */
    struct file_failure failure;
};

/* Writes the file. Unless `in_place` or `append` is set, readers find the old or the new content,
 * and after a failure the old one. */
void whole_file_write(struct file_writing *writing);

#endif
