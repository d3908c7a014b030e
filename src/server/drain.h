/* drain.h -- the end of the server in good order: from the first signal until no connection is
 * left.
 *
 * Knows the workers and the time. `on_phase` does the rest: sockets, the admin address, messages to
 * systemd. Main thread. */
#ifndef TIDEWIRE_SERVER_DRAIN_H
#define TIDEWIRE_SERVER_DRAIN_H

#include "script/vm/settings.h"
#include "server/workers/workers.h"

#include <stdbool.h>
#include <uv.h>

/* In this order. DRAIN_LAME_DUCK is left out where it has no time, and after an upgrade. */
enum drain_phase {
    DRAIN_NONE,      /* the server serves, or starts */
    DRAIN_LAME_DUCK, /* /readyz returns 503; all else goes on */
    DRAIN_CLOSING,   /* no client is admitted, and every client is sent 1001 */
    DRAIN_OVER,      /* the time is over: the connections that are left are cut off */
};

struct drain {
    enum drain_phase phase; /* for reading */
    bool upgraded;          /* for reading: drain_upgraded() was called */
    /* Set by the owner where another process keeps the sockets open: connections wait in them for
     * the next process, and every accepted client is admitted. */
    bool sockets_stay_open;
    /* private */
    struct process *process;
    struct workers *workers;
    const struct settings *settings;
    void (*on_phase)(void *user, enum drain_phase phase);
    void *user;
    uv_timer_t timer;
};

/* `settings` have the times, and are borrowed. `on_phase`: a phase begins; the workers have not got
 * its command yet. */
void drain_init(struct drain *drain, uv_loop_t *loop, struct process *process,
                struct workers *workers, const struct settings *settings,
                void (*on_phase)(void *user, enum drain_phase phase), void *user);
/* Closes the timer: the loop must run once more. */
void drain_close(struct drain *drain);

/* A signal to end, or os.exit: begins the drain; in a later phase cuts all connections off. `why`
 * is for the log. */
void drain_signal(struct drain *drain, const char *why);
/* Another process accepts on the server's sockets from now on: the clients that this process has
 * accepted are admitted, then all are sent 1001, without a lame duck. In DRAIN_NONE or
 * DRAIN_LAME_DUCK. */
void drain_upgraded(struct drain *drain);

/* Logs an event of the end, with the number of connections. `why` NULL: without that field. */
void drain_log(const struct drain *drain, enum log_level level, const char *event, const char *why);

#endif
