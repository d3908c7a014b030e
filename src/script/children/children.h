/* children.h -- programs that scripts run: their input, output and end, on the worker's loop.
 *
 * A child is one such process, known by a number. Output that was not taken has a limit; beyond it
 * a child is ended, or not read until the output is taken. The process group of a child is ended by
 * SIGTERM, and by SIGKILL if that does not help. Each child is waited for, whether its result is
 * wanted or not. */
#ifndef TIDEWIRE_SCRIPT_CHILDREN_CHILDREN_H
#define TIDEWIRE_SCRIPT_CHILDREN_CHILDREN_H

#include "base/slice.h"
#include "script/children/launch.h"

#include <stdint.h>
#include <uv.h>

struct children_owner {
    /* realloc() for input and output, whose sizes processes and scripts decide; size 0 frees. NULL:
     * there is no memory for it. */
    void *(*resize)(void *user, void *block, size_t old_size, size_t size);
    /* What children_wait() has waited for. Starts and ends no child. */
    void (*on_event)(void *user, uint64_t tag);
    void *user;
};

enum child_output { CHILD_STDOUT, CHILD_STDERR };
enum { CHILD_OUTPUTS = 2 };

struct child_options {
    struct launch launch;         /* has_input is ignored */
    struct slice input;           /* NULL bytes: none */
    size_t max_output;            /* of standard output, and of standard error */
    uint64_t timeout_ms;          /* 0: none */
    bool is_taken[CHILD_OUTPUTS]; /* children_take() takes the output while the child runs */
};

struct child_result {
    const char *problem; /* a sentence; NULL: it has ended by itself */
    int code;            /* of its exit; -1: a signal has ended it */
    int signal;          /* 0: none */
    struct slice output[CHILD_OUTPUTS];
};

struct children *children_new(uv_loop_t *loop, const struct children_owner *owner);

/* Begins to start a child; its result tells if that is not possible. Returns its number, for which
 * the caller calls children_end(). The options are borrowed until this returns. */
uint64_t children_start(struct children *children, const struct child_options *options,
                        uint64_t tag);
/* Has the child ended? The result is borrowed until children_end(). */
bool children_result(const struct children *children, uint64_t number, struct child_result *out);
/* The output that has come since the last call, borrowed until the next call of any function here;
 * empty: none has. */
struct slice children_take(struct children *children, uint64_t number, enum child_output which);
/* Calls on_event once, when the child ends or has written output that is to be taken. */
void children_wait(struct children *children, uint64_t number);
/* The result is not needed any more. Ends the child if it runs. */
void children_end(struct children *children, uint64_t number);

/* Ends all children whose end was not begun, and forgets the results. Others may be started
 * afterwards. */
void children_end_all(struct children *children);
/* When no handle of the loop is open. Accepts NULL. */
void children_free(struct children *children);

#endif
