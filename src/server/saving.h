/* saving.h -- writes the state: at the end of the process, or for the next one of an upgrade.
 *
 * One worker after the other writes its part. For the next process the sessions lose their sockets
 * first, and their hooks have a short time to end. The workers' reports move it on. A worker that
 * does not answer, because a script does not return, is left out. Main thread. */
#ifndef TIDEWIRE_SERVER_SAVING_H
#define TIDEWIRE_SERVER_SAVING_H

#include "server/workers/workers.h"

#include <stdbool.h>
#include <uv.h>

enum saving_phase { SAVING_IDLE, SAVING_DETACHING, SAVING_WRITING };

struct saving {
    bool is_done; /* for reading */
    bool failed;  /* for reading, when it is done: the state is not written, or not whole */
    /* private */
    enum saving_phase phase;
    bool is_taken_back;  /* while it was written */
    bool is_asked_again; /* since then */
    unsigned tries;      /* to get the state file back that are left */
    struct workers *workers;
    struct state *state;
    unsigned worker;                       /* that is asked now */
    uint64_t deadline_ms;                  /* of SAVING_DETACHING, on the loop's clock */
    void (*on_passed)(void *user, int fd); /* of an upgrade */
    void *user;
    uv_timer_t timer;
};

void saving_init(struct saving *saving, uv_loop_t *loop, struct workers *workers,
                 struct state *state);
/* Closes the timer: the loop must run once more. */
void saving_close(struct saving *saving);

/* Begins. `is_done` follows, at once where the app has no state file. */
void saving_begin(struct saving *saving);
/* Begins for the next process. `on_passed` gets a descriptor with the state, which it closes; -1:
 * it could not be written. */
void saving_pass(struct saving *saving, void (*on_passed)(void *user, int fd), void *user);
/* The next process has failed: the clients of sessions may come back to this one. */
void saving_take_back(struct saving *saving);
/* A worker has reported something. */
void saving_on_report(struct saving *saving);

#endif
