/* pid_file.h -- the file with the process's number.
 *
 * It is written under a temporary name and then renamed: no process reads half a number, and an
 * upgrade replaces the file in one step. The process keeps it locked (flock): a file without a lock
 * is a leftover. Symbolic links are not followed, and a file that is no pid file is not
 * overwritten. Main thread. */
#ifndef TIDEWIRE_SERVER_PID_FILE_H
#define TIDEWIRE_SERVER_PID_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct pid_file {
    const char *path; /* NULL: there is no pid file */
    /* private */
    char *temporary; /* its temporary name; NULL: it has none (yet, or any more) */
    int fd;          /* open and locked; -1: not written yet */
    bool in_place;
};

/* Opens nothing. `path` may be NULL and is borrowed. */
void pid_file_init(struct pid_file *file, const char *path);

/* These return false, with a sentence in `error`, when they fail. */

/* Checks that no other process uses the file: there is none, or a leftover. */
bool pid_file_check(const struct pid_file *file, char *error, size_t error_size);
/* Writes it under a temporary name. */
bool pid_file_write(struct pid_file *file, char *error, size_t error_size);
/* Renames it to its path. `replace`: over the file of the running process, which has agreed; else
 * only over a leftover, or where there is none. */
bool pid_file_place(struct pid_file *file, bool replace, char *error, size_t error_size);

/* Writes it again where it was removed. */
bool pid_file_restore(struct pid_file *file, char *error, size_t error_size);
/* The next process replaces the file by its own: pid_file_remove() leaves that alone. */
void pid_file_leave(struct pid_file *file);
/* Removes the file, also under its temporary name; another file at its path is left alone. */
void pid_file_remove(struct pid_file *file);

#endif
