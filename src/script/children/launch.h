/* launch.h -- starts a program in a process of its own, with pipes. Any thread; no loop, no Lua.
 *
 * The process is the first of a new session and process group. It has the given standard input,
 * its own pipes as standard output and error, no other descriptor, no blocked or ignored signal. */
#ifndef TIDEWIRE_SCRIPT_CHILDREN_LAUNCH_H
#define TIDEWIRE_SCRIPT_CHILDREN_LAUNCH_H

#include "base/error_text.h"

#include <stdbool.h>

/* Borrowed until launch_program() has returned. */
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

/* False, with a sentence: the program cannot be started. A name without a slash is looked up in the
 * PATH of the environment that the program gets. The caller waits for the pid and closes the
 * pipes. */
bool launch_program(const struct launch *launch, struct launched *out,
                    const struct error_text *problem);

#endif
