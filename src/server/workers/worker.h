/* worker.h -- one loop with the parts that serve connections on it: sockets, hub, Lua state.
 *
 * Connects the parts, and decides nothing itself. Its functions are called on the worker's own
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

/* The life of a worker, in this order. worker_kill() skips the stages before STAGE_CLOSING. */
enum worker_stage {
    STAGE_LOADING,      /* loads the app; the loop runs only while the script waits */
    STAGE_LOADED,       /* the loop runs; nothing listens */
    STAGE_SERVING,      /* accepts connections */
    STAGE_SETTLING,     /* listens no longer; still admits the clients that were accepted before */
    STAGE_ON_STOP,      /* admits no client; the app's on_stop runs, and may send and wait */
    STAGE_ON_STOP_DONE, /* on_stop has ended; clients are still served */
    STAGE_CLOSING,      /* sends 1001 to every client */
    STAGE_DRAINED,      /* no connection is left */
    STAGE_FAILED,       /* could not load; the error was logged or printed */
    STAGE_FREEING,      /* no script runs any more; frees the memory, which may be much */
    STAGE_ENDED,        /* the thread does nothing more */
};

/* On the worker's thread. NULL: no call. */
struct worker_events {
    void (*on_stage)(void *user, enum worker_stage stage); /* the worker has reached this stage */
    void (*on_exit)(void *user, int code);                 /* a script calls os.exit */
    void *user;
};

/* A worker without an app, with a loop of its own; nothing listens yet. The process is borrowed
 * until worker_free(). NULL after the error was logged. A process makes only one worker of each
 * number: a second one would reuse the ids of its connections. */
struct worker *worker_new(unsigned number, struct process *process,
                          const struct worker_events *events);
uv_loop_t *worker_loop(struct worker *worker);

/* Loads the app. False after the errors were printed. */
bool worker_load(struct worker *worker, const char *file, const struct settings *settings);
/* The app that runs; NULL: none is loaded. The worker owns it, until worker_activate() or
 * worker_free(). Any thread, from STAGE_LOADED on, while no worker_activate() is under way. */
const struct app *worker_app(const struct worker *worker);
/* For loading new code, and for stopping a load. */
struct vm *worker_vm(struct worker *worker);
/* Activates the code that vm_load_next() has loaded, with its limits. Owns the app from now on.
 * Returns how many connections were closed because the codec of their endpoint is now of another
 * kind. */
uint32_t worker_activate(struct worker *worker, struct app *app);
/* Adds the worker's connections, waiting hooks and timers, by generation. */
void worker_count(struct worker *worker, struct generation_counts *counts);

/* Takes this worker's part of the state, which was taken when the app was loaded already. */
void worker_take_state(struct worker *worker);
/* Sessions lose their sockets, so that they can be saved. False: hooks of some have not ended. */
bool worker_detach_sessions(struct worker *worker);
/* Their clients may come back after all. */
void worker_attach_sessions(struct worker *worker);
/* Writes this worker's part of the state, between state_begin_save() and state_end_save(). One
 * worker at a time. */
void worker_save_state(struct worker *worker);

/* Accepts on this worker's sockets of all sets. */
void worker_listen(struct worker *worker, struct listen_set *const *sets, size_t set_count);

struct worker_drain_options {
    uint64_t spread_ms; /* the time over which the closes are spread; 0: all at once */
    /* The sockets stay open, here or in another process: every accepted client is admitted. */
    bool sockets_stay_open;
};

/* Stops listening. STAGE_ON_STOP_DONE follows. */
void worker_drain(struct worker *worker, const struct worker_drain_options *options);
/* In STAGE_ON_STOP_DONE: sends every client 1001. STAGE_DRAINED follows. Does nothing in other
 * stages. */
void worker_close_clients(struct worker *worker, const struct worker_drain_options *options);
/* Cuts every connection off. Before that, clients that were not sent 1001 yet get it, if their
 * sockets take it. */
void worker_kill(struct worker *worker);

/* Closes every socket and connection. */
void worker_close(struct worker *worker);
/* After that: closes the handles that scripts have left open, and runs the loop until it has none.
 * False when that takes too long: a request of luv does not end (a pipe is opened, a name is looked
 * up). The request uses memory of the Lua state, so nothing may be freed then. */
bool worker_finish(struct worker *worker);
/* Any thread, when no other worker runs: others read its statistics. False: its loop has handles
 * left. Accepts NULL. */
bool worker_free(struct worker *worker);

#endif
