/* worker_thread.h -- one worker and its thread, which carries out orders between two events of its
 * loop.
 *
 * Orders are bits of a word, reports are states: each wakes the other's loop, and may be late,
 * but is never lost. The main thread calls these functions. Only workers.c does. */
#ifndef TIDEWIRE_SERVER_WORKERS_WORKER_THREAD_H
#define TIDEWIRE_SERVER_WORKERS_WORKER_THREAD_H

#include "server/workers/worker.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

/* Orders that are given at once are carried out in the order that stands in worker_thread.c. */
enum worker_command {
    WORKER_STOP_LOAD = 1, /* give up the load of the first app */
    WORKER_LISTEN = 2,
    WORKER_LOAD = 4,     /* the app anew: RELOAD_LOADED or RELOAD_FAILED follows */
    WORKER_ACTIVATE = 8, /* what was loaded: RELOAD_ACTIVATED follows */
    WORKER_DISCARD = 16, /* it, loaded or not: RELOAD_NONE follows */
    WORKER_LOG_SLOW_LOAD = 32,
    WORKER_COUNT = 64,
    WORKER_DRAIN = 128,
    WORKER_CLOSE_CLIENTS = 256,
    WORKER_KILL = 512,
    WORKER_END = 1024, /* in good order: STAGE_ENDED follows, unless a script does not return */
};

/* What became of the last WORKER_LOAD. */
enum reload_stage {
    RELOAD_NONE,    /* there was none, or it was discarded */
    RELOAD_LOADING, /* the app is loaded beside the code that runs */
    RELOAD_LOADED,  /* it waits for WORKER_ACTIVATE or WORKER_DISCARD */
    RELOAD_FAILED,  /* it could not be loaded; waits for WORKER_DISCARD */
    RELOAD_ACTIVATED,
};

/* The worker writes the others before it reports the stage; the main thread reads them after
 * that. */
struct reload_result {
    _Atomic enum reload_stage stage;
    struct app *app;       /* RELOAD_LOADED */
    char *problems;        /* RELOAD_FAILED: why, in lines */
    char *sources;         /* the script files that were asked for, one a line */
    uint64_t pause_ns;     /* RELOAD_ACTIVATED: so long the worker stood still */
    uint32_t codec_closed; /* RELOAD_ACTIVATED: so many connections were closed for their codec */
};

/* What all threads have in common. The main thread sets the arguments of an order before it
 * gives the order. */
struct worker_context {
    struct process *process;
    const char *file;
    struct vm_command_line command_line; /* borrowed */
    uv_async_t reports;                  /* on the main thread's loop: some worker has a report */
    atomic_int exit_code;           /* the first that a script has called os.exit with; -1: none */
    struct listen_set *const *sets; /* WORKER_LISTEN */
    size_t set_count;
    unsigned generation;               /* WORKER_LOAD: of the code to load */
    double load_seconds;               /* WORKER_LOG_SLOW_LOAD: how long it has been loaded, */
    unsigned loading, count;           /* by how many workers still, and of how many */
    struct worker_drain_options drain; /* WORKER_DRAIN, WORKER_CLOSE_CLIENTS */
};

struct worker_thread {
    struct worker_context *context;
    unsigned number;
    uv_thread_t thread;
    _Atomic enum worker_stage stage;
    struct reload_result reload;
    atomic_uint orders;         /* not carried out yet */
    _Atomic uint64_t pinged_ns; /* when the ping was sent that is not answered; 0: all are */
    uv_mutex_t lock;            /* of the next three */
    bool can_wake;              /* `wakeup` is open */
    bool has_counted;           /* since the last WORKER_COUNT */
    struct generation_counts counts;

    /* the worker's thread's, and the main thread's from STAGE_ENDED on */
    struct worker *worker;
    uv_async_t wakeup;
    bool must_end;  /* WORKER_END was given */
    bool cut_short; /* worker_finish() has failed */
};

/* NULL after a log line. */
struct worker_thread *worker_thread_start(struct worker_context *context, unsigned number);
void worker_thread_command(struct worker_thread *thread, enum worker_command order);
/* Wakes its loop, which answers a ping. */
void worker_thread_wake(struct worker_thread *thread);
/* After the thread was joined. False: the worker has left handles on its loop. */
bool worker_thread_free(struct worker_thread *thread);

#endif
