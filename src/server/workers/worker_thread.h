/* worker_thread.h -- one worker and its thread, which runs the main thread's commands between two
 * events of its loop.
 *
 * Commands are bits of an integer, reports are states. Both wake the loop of the other thread; they
 * may be late, and are never lost. The main thread calls these functions, in workers.c only. */
#ifndef TIDEWIRE_SERVER_WORKERS_WORKER_THREAD_H
#define TIDEWIRE_SERVER_WORKERS_WORKER_THREAD_H

#include "server/workers/worker.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

/* Commands that are pending at the same time run in the sequence of worker_thread.c. */
enum worker_command {
    WORKER_STOP_LOAD = 1, /* stop the load of the first app */
    WORKER_LISTEN = 2,
    WORKER_LOAD = 4,     /* load new code: RELOAD_LOADED or RELOAD_FAILED follows */
    WORKER_ACTIVATE = 8, /* activate the loaded code: RELOAD_ACTIVATED follows */
    WORKER_DISCARD = 16, /* discard the new code, loaded or not: RELOAD_NONE follows */
    WORKER_LOG_SLOW_LOAD = 32,
    WORKER_COUNT = 64,
    WORKER_DRAIN = 128,
    WORKER_CLOSE_CLIENTS = 256,
    WORKER_KILL = 512,
    WORKER_STATE = 1024, /* take or save the state (enum state_step) */
    WORKER_END = 2048,   /* in good order: STAGE_ENDED follows, unless a script does not return */
};

/* The outcome of the last WORKER_LOAD. */
enum reload_stage {
    RELOAD_NONE,      /* no reload yet, or the new code was discarded */
    RELOAD_LOADING,   /* loads the new code beside the code that runs */
    RELOAD_LOADED,    /* waits for WORKER_ACTIVATE or WORKER_DISCARD */
    RELOAD_FAILED,    /* could not load; waits for WORKER_DISCARD */
    RELOAD_ACTIVATED, /* the new code runs */
};

/* What WORKER_STATE asks of a worker. The main thread may withdraw it until the worker begins. */
enum state_step {
    STATE_STEP_NONE,
    STATE_STEP_TAKE,
    STATE_STEP_DETACH, /* sessions lose their sockets; `is_at_rest` says whether their hooks ended
                        */
    STATE_STEP_ATTACH, /* their clients may come back */
    STATE_STEP_SAVE,
    STATE_STEP_RUNS, /* the worker takes or saves */
    STATE_STEP_DONE,
};

/* The worker writes the fields before it reports the stage; the main thread reads them after
 * that. */
struct reload_result {
    _Atomic enum reload_stage stage;
    struct app *app;       /* RELOAD_LOADED */
    char *problems;        /* RELOAD_FAILED: why, in lines */
    char *sources;         /* the script files that the app asked for, one a line */
    uint64_t pause_ns;     /* RELOAD_ACTIVATED: how long the worker was blocked */
    uint32_t codec_closed; /* RELOAD_ACTIVATED: connections closed because of their codec */
};

/* Shared by all threads. The main thread sets the arguments of a command before it gives the
 * command. */
struct worker_context {
    struct process *process;
    const char *file;
    const struct settings *settings; /* borrowed */
    uv_async_t reports;              /* on the main thread's loop: a worker has a report */
    atomic_int exit_code;            /* the first that a script has called os.exit with; -1: none */
    struct listen_set *const *sets;  /* WORKER_LISTEN */
    size_t set_count;
    unsigned generation;               /* WORKER_LOAD: of the code to load */
    double load_seconds;               /* WORKER_LOG_SLOW_LOAD: how long the load has taken, */
    unsigned loading, count;           /* how many workers still load, and of how many */
    struct worker_drain_options drain; /* WORKER_DRAIN, WORKER_CLOSE_CLIENTS */
};

struct worker_thread {
    struct worker_context *context;
    unsigned number;
    uv_thread_t thread;
    _Atomic enum worker_stage stage;
    struct reload_result reload;
    _Atomic enum state_step state_step;
    atomic_bool is_at_rest;     /* after STATE_STEP_DETACH */
    atomic_uint commands;       /* pending: bits of enum worker_command */
    _Atomic uint64_t pinged_ns; /* when the unanswered ping was sent; 0: none is */
    uv_mutex_t lock;            /* of the next three */
    bool can_wake;              /* `wakeup` is open */
    bool has_counted;           /* since the last WORKER_COUNT */
    struct generation_counts counts;

    /* used by the worker's thread, and from STAGE_ENDED on by the main thread */
    struct worker *worker;
    uv_async_t wakeup;
    bool must_end;  /* WORKER_END was given */
    bool cut_short; /* worker_finish() has failed */
};

/* NULL after the error was logged. */
struct worker_thread *worker_thread_start(struct worker_context *context, unsigned number);
void worker_thread_command(struct worker_thread *thread, enum worker_command command);
/* Wakes its loop, which answers a ping. */
void worker_thread_wake(struct worker_thread *thread);
/* After the thread was joined. False: the worker's loop has handles left. */
bool worker_thread_free(struct worker_thread *thread);

#endif
