/* worker.h -- one loop with all that serves connections on it: sockets, hub, Lua state.
 *
 * Joins the parts and decides nothing itself. Every function is called on the worker's own
 * thread, which worker_thread.c starts; `tidewire check` has a worker on the main thread. */
#ifndef TIDEWIRE_SERVER_WORKERS_WORKER_H
#define TIDEWIRE_SERVER_WORKERS_WORKER_H

#include "net/listen/listen.h"
#include "script/vm/vm.h"
#include "server/workers/generation_counts.h"
#include "server/workers/process.h"

#include <stdbool.h>
#include <uv.h>

struct worker;

/* The life of a worker, in this order. worker_kill() skips what is left before STAGE_CLOSING. */
enum worker_stage {
    STAGE_LOADING,  /* the app is loaded; the loop runs only while a script waits */
    STAGE_LOADED,   /* the loop has its turns; nothing listens */
    STAGE_SERVING,  /* it accepts */
    STAGE_SETTLING, /* it listens no more; clients that were accepted before are still admitted */
    STAGE_ON_STOP,  /* no client is admitted; the app's on_stop runs, and may send and wait */
    STAGE_ON_STOP_DONE, /* on_stop has ended; clients are still served */
    STAGE_CLOSING,      /* every client was sent 1001, or is about to be */
    STAGE_DRAINED,      /* every connection is gone */
    STAGE_FAILED,       /* it could not load or listen, which was logged or printed */
    STAGE_ENDED,        /* its thread does nothing more */
};

/* On the worker's thread. NULL: no call. */
struct worker_events {
    void (*on_stage)(void *user, enum worker_stage stage); /* it has come to this stage */
    void (*on_exit)(void *user, int code);                 /* a script calls os.exit */
    void *user;
};

/* A worker without an app, with a loop of its own; nothing listens yet. The process is borrowed
 * until worker_free(). NULL after a log line. A process makes one worker of each number only:
 * another would give the ids of its connections again. */
struct worker *worker_new(unsigned number, struct process *process,
                          const struct worker_events *events);
uv_loop_t *worker_loop(struct worker *worker);

/* Loads the app. False after the problems were printed. */
bool worker_load(struct worker *worker, const char *file,
                 const struct vm_command_line *command_line);
/* The app that runs; NULL: none is loaded. It is the worker's, until worker_activate() or
 * worker_free(). Any thread, from STAGE_LOADED on, while no worker_activate() is under way. */
const struct app *worker_app(const struct worker *worker);
/* For loading new code, and for giving up a load. */
struct vm *worker_vm(struct worker *worker);
/* Replaces the code that runs by what vm_load_next() has loaded, with its limits. The app becomes
 * the worker's. Returns how many connections were closed, as the codec of their endpoint is of
 * another kind. */
uint32_t worker_activate(struct worker *worker, struct app *app);
/* Adds which code the worker's connections, waiting hooks and timers hold. */
void worker_count(struct worker *worker, struct generation_counts *counts);

/* Accepts on this worker's sockets of all sets. STAGE_FAILED: there can be no transport. */
void worker_listen(struct worker *worker, struct listen_set *const *sets, size_t set_count);

struct worker_drain_options {
    uint64_t spread_ms; /* the time over which the closes are spread; 0: all at once */
    /* The sockets stay open, here or in another process: no accepted client may be turned away. */
    bool sockets_stay_open;
};

/* Stops listening. STAGE_ON_STOP_DONE follows. */
void worker_drain(struct worker *worker, const struct worker_drain_options *how);
/* In STAGE_ON_STOP_DONE: sends every client 1001. STAGE_DRAINED follows. Does nothing in other
 * stages. */
void worker_close_clients(struct worker *worker, const struct worker_drain_options *how);
/* Cuts every connection off. A client that was not sent 1001 yet is, if its socket takes that. */
void worker_kill(struct worker *worker);

/* Closes every socket and connection. */
void worker_close(struct worker *worker);
/* After that: runs the loop until nothing is left on it, what scripts have left open included.
 * False when it takes too long: a request of luv's does not end (a pipe is opened, a name is
 * looked up). Its memory is the Lua state's, so nothing may be freed then. */
bool worker_finish(struct worker *worker);
/* Any thread, when no other worker runs any more: others read its statistics. False: handles
 * were left on its loop. Accepts NULL. */
bool worker_free(struct worker *worker);

#endif
