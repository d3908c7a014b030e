/* pid_file.h -- the file with the process's number.
 *
 * Written beside its place first and put there whole, so that nobody reads half a number, and so
 * that it goes from one process to the next in one step. It is locked (flock) as long as the
 * process runs: a file that nobody holds is a leftover. Links are not followed, and what is no pid
 * file is not written over. Main thread. */
#ifndef TIDEWIRE_SERVER_PID_FILE_H
#define TIDEWIRE_SERVER_PID_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct pid_file {
    const char *path; /* NULL: there is none */
    /* private */
    char *beside; /* its name where it was written; NULL: in its place, or to be written there */
    int fd;       /* open and locked; -1: not written yet */
    bool in_place;
};

/* Without an effect yet; `path` may be NULL and is borrowed. */
void pid_file_init(struct pid_file *file, const char *path);

/* Each of these false, with a sentence in `error`. */

/* Can the file be ours: is there none, or a leftover of a process that has ended? */
bool pid_file_check(const struct pid_file *file, char *error, size_t error_size);
/* Writes it beside its place. */
bool pid_file_write(struct pid_file *file, char *error, size_t error_size);
/* Puts it in its place: of a running process's where that has agreed (`replace`), else of none or a
 * leftover. */
bool pid_file_place(struct pid_file *file, bool replace, char *error, size_t error_size);

/* Puts it in its place again where it was taken away. */
bool pid_file_restore(struct pid_file *file, char *error, size_t error_size);
/* The next process puts its own in the place: this one is not removed. */
void pid_file_leave(struct pid_file *file);
/* Removes what there is of it; not another process's that was put in its place. */
void pid_file_remove(struct pid_file *file);

#endif
