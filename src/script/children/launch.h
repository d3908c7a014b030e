/* launch.h -- starts a program in a process of its own, with pipes, on libuv's thread pool.
 *
 * The process is the first of a new session and process group. It has the given standard input,
 * its own pipes as standard output and error, no other descriptor, no blocked or ignored signal. */
#ifndef TIDEWIRE_SCRIPT_CHILDREN_LAUNCH_H
#define TIDEWIRE_SCRIPT_CHILDREN_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct launch {
    char *const *arguments;   /* the program's name first; ends with NULL */
    char *const *environment; /* "NAME=value"; ends with NULL */
    const char *folder;       /* the working directory; NULL: ours */
    bool has_input;           /* else it reads /dev/null */
};

enum { LAUNCH_INPUT, LAUNCH_OUTPUT, LAUNCH_ERRORS, LAUNCH_PIPES };

struct launched {
    int pid;
    int pipes[LAUNCH_PIPES]; /* our ends, which do not block; -1: there is none */
};

/* A start under way. */
struct launching;

/* On the loop. `problem` is why the program cannot be started; NULL: it runs, and the callee waits
 * for the pid and closes the pipes. The callee may free the memory of the start. */
typedef void launched_fn(void *user, const struct launched *launched, const char *problem);

/* The bytes of memory that the start takes, with copies of all texts. */
size_t launch_size(const struct launch *launch);
/* Starts the program, and calls on_launched once, later. `memory` has launch_size() bytes, and is
 * the start until then. A name without a slash is looked up in the PATH of the environment that the
 * program gets. */
struct launching *launch_begin(void *memory, uv_loop_t *loop, const struct launch *launch,
                               launched_fn *on_launched, void *user);
/* The program is not needed. It may run all the same if a thread has begun its start. */
void launch_cancel(struct launching *launching);

#endif
