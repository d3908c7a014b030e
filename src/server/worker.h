/* worker.h -- one loop with all that serves connections on it: sockets, hub, Lua state.
 *
 * Joins the parts; decides nothing itself. Every function on the worker's own thread, which crew.c starts;
 * `tidewire check` has one on the main thread. */
#ifndef TIDEWIRE_SERVER_WORKER_H
#define TIDEWIRE_SERVER_WORKER_H

#include "core/hub.h"
#include "net/admission.h"
#include "net/listen.h"
#include "script/app.h"
#include "script/vm.h"
#include "server/census.h"
#include "server/watchdog.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

struct worker;

/* What the workers of a process have in common. Any thread. */
struct commons {
    struct bus *bus;
    struct shared *shared;           /* the stores of tw.shared */
    struct admission admission;      /* limits on sockets and on memory for them */
    struct certificate *certificate; /* in force; see credentials.h */
    struct watchdog *watchdog;       /* ends scripts that take too long */
    double started_at;               /* wall seconds */
    atomic_uint generation;          /* of the code that all workers run */
    atomic_uint reloads, reload_failures;
    _Atomic uint64_t reload_pause_ns; /* the longest that a worker stood still for the last swap */
};

void commons_init(struct commons *commons);
void commons_close(struct commons *commons);
/* The app's limits of the process, for what comes from now on. */
void commons_limit(struct commons *commons, const struct app *app);

/* A worker without an app, with a loop of its own; nothing listens yet. The commons are borrowed until
 * worker_free(). NULL after a log line. */
struct worker *worker_new(unsigned number, struct commons *commons);
/* A script that calls os.exit is told to `on_exit`, with the code. On the worker's thread. */
void worker_on_exit(struct worker *worker, void (*on_exit)(void *user, int code), void *user);
uv_loop_t *worker_loop(struct worker *worker);

/* Loads the app. NULL after the problems were printed. The app is the worker's. */
const struct app *worker_load(struct worker *worker, const char *file,
                              const struct vm_command_line *command_line);
/* Lets a worker_load() whose script waits give up. */
void worker_stop_load(struct worker *worker);
/* Says in the log that and where it still waits, if it does. See vm_tell_load(). */
void worker_tell_load(struct worker *worker, double seconds, unsigned loading, unsigned workers);

/* Begins to load the app anew, beside the code that runs. `on_loaded` comes later, unless worker_discard() does. */
void worker_reload(struct worker *worker, const char *file,
                   const struct vm_command_line *command_line, unsigned generation,
                   vm_loaded_fn on_loaded, void *user);
/* What was loaded takes over, with its limits. Takes over the app. */
void worker_swap(struct worker *worker, struct app *app);
/* It is given up, loaded or not. */
void worker_discard(struct worker *worker);

/* Which code its connections and waiting hooks hold. */
void worker_count(struct worker *worker, struct census *census);

/* Accepts on this worker's sockets of all sets. False: there can be no transport. */
bool worker_listen(struct worker *worker, struct listen_set *const *sets, size_t set_count);

/* How clients are told to go. */
struct drain_order {
    uint64_t spread_ms; /* the time over which the closes are spread; 0: all at once */
    /* elsewhere, or later: nobody who was accepted here may be turned away */
    bool sockets_go_on;
};

/* News of a drain. Each comes once, but for what worker_kill() cuts short. */
struct drain_news {
    void (*on_stopped)(void *user); /* the app's on_stop has ended */
    void (*on_drained)(void *user); /* everything is said, and every connection is gone */
    void *user;
};

/* Stops listening and runs the app's on_stop. */
void worker_drain(struct worker *worker, const struct drain_order *how,
                  const struct drain_news *news);
/* After on_stopped: tells every client 1001. */
void worker_farewell(struct worker *worker);
/* Ends what is left, without ceremony; who was not told 1001 yet is, if its socket takes that. */
void worker_kill(struct worker *worker);

/* Closes every socket and connection. */
void worker_close(struct worker *worker);
/* After that: runs the loop until nothing is left on it, what scripts have left open included. False when
 * it takes too long: a request of luv's does not end (a pipe is opened, a name is looked up). Its memory
 * is the Lua state's, so nothing may be freed then. */
bool worker_finish(struct worker *worker);
/* Any thread, when no other worker runs any more: others read its figures. False: handles were left on its
 * loop. Accepts NULL. */
bool worker_free(struct worker *worker);

#endif
