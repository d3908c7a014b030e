/* pool_parts.h -- what the files of script/pool share: a pool, its threads, its calls.
 *
 * Locks: pools->lock protects the list of pools, their holds and the count of threads; pool->lock
 * the queue, the states of its calls and the fields of its threads; client->lock the list of calls
 * that are done. A thread that has several of them took them in this order. */
#ifndef TIDEWIRE_SCRIPT_POOL_POOL_PARTS_H
#define TIDEWIRE_SCRIPT_POOL_POOL_PARTS_H

#include "base/buffer.h"
#include "base/list.h"
#include "script/pool/pool_client.h"
#include "script/pool/pool_figures.h"
#include "script/pool/pools.h"

#include <stdatomic.h>

struct vm;

struct pools {
    struct pools_functions functions;
    uv_mutex_t lock;
    uv_cond_t ended;    /* a thread has ended */
    struct list all;    /* struct pool */
    struct list counts; /* struct pool_counts, one for each name */
    unsigned alive;     /* threads that have not ended */
    bool has_last;      /* there is a thread that has ended, and was not joined: */
    uv_thread_t last;   /* this */
    bool is_ending;     /* no pool may be made any more */
};

/* The counts of all pools with one name. */
struct pool_counts {
    struct list link;
    uv_mutex_t lock; /* of `figures`; taken last */
    struct pool_figures figures;
};

enum pool_stage { POOL_LOADING, POOL_READY, POOL_FAILED };

struct pool {
    struct list link; /* in pools->all */
    struct pools *pools;
    struct pool_options options; /* texts of its own */
    /* pools->lock */
    unsigned holds; /* of workers */
    unsigned refs;  /* holds, threads, calls */

    uv_mutex_t loading; /* threads load the module one after the other */
    uv_mutex_t lock;    /* of all below */
    uv_cond_t changed;  /* for the threads: the queue, `is_closing` */
    enum pool_stage stage;
    bool is_closing;       /* no call is accepted; the threads end when the queue is empty */
    bool must_stop;        /* the threads end at once */
    unsigned to_load;      /* threads that have not loaded the module yet */
    unsigned alive, busy;  /* threads */
    struct buffer failure; /* POOL_FAILED: why */
    struct buffer files;   /* the script files that the module has read or looked for, in lines */
    struct list queue;     /* struct pool_call that wait for a thread */
    struct list loads;     /* those that wait for the end of loading */
    struct list threads;
    uint64_t queued;     /* calls in the queue, */
    size_t queued_bytes; /* the bytes of their arguments, */
    size_t result_bytes; /* and those of results that no worker has taken yet */
    struct pool_counts *counts;
};

struct pool_thread {
    struct list link;
    struct pool *pool;
    uv_thread_t thread;
    struct vm *vm;          /* NULL: there is none now */
    struct pool_call *call; /* that it runs; NULL: none */
};

enum pool_call_state { CALL_WAITS, CALL_RUNS, CALL_DONE };

struct pool_call {
    struct list link;  /* in the queue or loads of the pool, or in `done` of the client */
    struct pool *pool; /* a reference */
    struct pool_client *client;
    uint64_t number, task; /* the client's; the task that waits, to be woken */
    /* pool->lock */
    enum pool_call_state state;
    bool is_abandoned; /* no client knows it any more: the thread frees it */
    enum pool_status status;
    struct buffer arguments; /* the function's name, and the arguments */
    struct buffer results;
    uint64_t queued_ns, began_ns;
};

/* ---- pool.c ---- */

/* Finds or makes a pool with these options, held by the caller. NULL: there is no thread, or
 * another pool with this name and generation has other options; `why` gets a sentence. */
struct pool *pool_open(struct pools *pools, const struct pool_options *options, char *why,
                       size_t size);
/* The caller holds it no longer. */
void pool_release(struct pool *pool);
void pool_ref(struct pool *pool);
void pool_unref(struct pool *pool);

/* Puts a call into the queue. False: the pool is closed, or the queue is full: see `status`. */
bool pool_add(struct pool *pool, struct pool_call *call, enum pool_status *status);
/* Lets a call wait for the end of loading. False: it has ended. */
bool pool_add_load(struct pool *pool, struct pool_call *call);
/* The caller forgets the call, whatever its state. True: the caller frees it. */
bool pool_abandon(struct pool_call *call, bool is_late);
/* The worker has taken the results of a call that is done. */
void pool_taken(struct pool *pool, size_t bytes);
void pool_call_free(struct pool_call *call);

/* ---- for pool_thread.c ---- */

/* Waits for a call, and takes it. NULL: the thread is to end. */
struct pool_call *pool_next(struct pool_thread *thread);
/* The call that the thread runs is done. */
void pool_done(struct pool_thread *thread, struct pool_call *call, enum pool_status status);
/* The thread has loaded the module; NULL, or why it could not. */
void pool_loaded(struct pool_thread *thread, const char *failure);
/* Should a thread that has not loaded the module yet do so? */
bool pool_wants_load(struct pool *pool);
/* The thread ends now: the last call of it. */
void pool_thread_ended(struct pool_thread *thread);

/* ---- pool_figures.c ---- */

/* With pools->lock: the counts of the pools with this name. */
struct pool_counts *pool_counts_of(struct pools *pools, const char *name);
void pool_counts_close(struct pools *pools);
void pool_count_call(struct pool *pool);
void pool_count_refusal(struct pool *pool);
void pool_count_timeout(struct pool *pool);
void pool_count_wait(struct pool *pool, uint64_t ns);
void pool_count_run(struct pool *pool, uint64_t ns, bool has_thrown);

/* ---- pool_thread.c ---- */

/* The function of a thread; the argument is a struct pool_thread. */
void pool_thread_run(void *argument);
/* With pool->lock: the function that the thread runs, or begins to run, is to end. */
void pool_interrupt(struct pool_thread *thread);
/* With pool->lock, before the thread runs another call: forgets that. */
void pool_prepare(struct pool_thread *thread);

/* ---- pool_client.c ---- */

/* Any thread, with pool->lock: the call is done. */
void pool_client_notify(struct pool_client *client, struct pool_call *call);

#endif
