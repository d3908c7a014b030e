/* pid_file.h -- the file with the process's number.
 *
 * Written beside its place first and put there whole, so that nobody reads half a number, and so that it goes
 * from one process to the next in one step. Main thread. */
#ifndef TIDEWIRE_SERVER_PID_FILE_H
#define TIDEWIRE_SERVER_PID_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct pid_file {
    const char *path; /* NULL: there is none */
    char *beside;     /* written, not in its place yet */
    bool in_place;
};

/* Writes it beside its place; `path` may be NULL and is borrowed. False, with a sentence in `error`. */
bool pid_file_write(struct pid_file *file, const char *path, char *error, size_t error_size);
/* Puts it in its place. */
bool pid_file_place(struct pid_file *file, char *error, size_t error_size);
/* The next process puts its own in the place: this one is not removed. */
void pid_file_leave(struct pid_file *file);
/* Removes what there is of it; not another process's that was put in its place. */
void pid_file_remove(struct pid_file *file);

#endif
