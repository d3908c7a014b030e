/* drain.h -- the end of the server in good order: from the first signal until no connection is
 * left.
 *
 * Knows the workers and the clock. What else belongs to an end (sockets, the admin address,
 * the messages to systemd) is done by `on_phase`. Main thread. */
#ifndef TIDEWIRE_SERVER_DRAIN_H
#define TIDEWIRE_SERVER_DRAIN_H

#include "server/workers/workers.h"

#include <stdbool.h>
#include <uv.h>

/* In the order of their coming; the first three may be left out. */
enum drain_phase {
    DRAIN_NOT,
    DRAIN_LAME_DUCK, /* /readyz says 503; all else goes on */
    DRAIN_ON,        /* no client is admitted, and every client is sent 1001 */
    DRAIN_OVER,      /* the time is over: connections that are left are cut off */
};

struct drain_options {
    uv_loop_t *loop;
    struct process *process;
    struct workers *workers;
    double lame_duck_seconds, drain_seconds, jitter_seconds;
    /* A phase begins, before the workers get their order. */
    void (*on_phase)(void *user, enum drain_phase phase);
    void *user;
};

struct drain {
    enum drain_phase phase; /* for reading */
    bool handed_over;       /* for reading: another process has taken over */
    /* Set it where another process keeps the sockets open: connections wait there for the next
     * process, and no accepted client is turned away. */
    bool sockets_stay_open;
    /* private */
    struct drain_options options;
    uv_timer_t timer;
};

void drain_init(struct drain *drain, const struct drain_options *options);
/* Closes the timer: the loop must run once more. */
void drain_close(struct drain *drain);

/* The server is to end; `why` is for the log. Where that was said before, at once. */
void drain_signal(struct drain *drain, const char *why);
/* Another process accepts on the server's sockets from now on: clients that were accepted are
 * admitted, then all are sent 1001, without a lame duck. Not after drain_signal() has begun the
 * drain. */
void drain_upgraded(struct drain *drain);
/* The server ends before it has served a client. */
void drain_skip(struct drain *drain, const char *why);

#endif
