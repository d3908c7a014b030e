/* saving.h -- writes the state at the end of the process: asks one worker after the other for its
 * part.
 *
 * The workers' reports move it on. A worker that does not answer, because a script does not return,
 * is left out. Main thread. */
#ifndef TIDEWIRE_SERVER_SAVING_H
#define TIDEWIRE_SERVER_SAVING_H

#include "server/workers/workers.h"

#include <stdbool.h>
#include <uv.h>

struct saving {
    bool is_done; /* for reading */
    bool failed;  /* for reading, when it is done: the state is not written, or not whole */
    /* private */
    struct workers *workers;
    struct state *state;
    unsigned worker; /* that is asked now */
    uv_timer_t timer;
};

void saving_init(struct saving *saving, uv_loop_t *loop, struct workers *workers,
                 struct state *state);
/* Closes the timer: the loop must run once more. */
void saving_close(struct saving *saving);

/* Begins. `is_done` follows, at once where the app has no state file. */
void saving_begin(struct saving *saving);
/* A worker has reported something. */
void saving_on_report(struct saving *saving);

#endif
