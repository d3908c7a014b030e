/* pool_client.h -- the calls of pools that one worker has made.
 *
 * Pools and calls are numbers for the caller, as in lua/types/core.lua. All on the worker's
 * thread. */
#ifndef TIDEWIRE_SCRIPT_POOL_POOL_CLIENT_H
#define TIDEWIRE_SCRIPT_POOL_POOL_CLIENT_H

#include "base/buffer.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct pools;
struct pool_client;

struct pool_options {
    const char *name;           /* of the module, as require has it */
    unsigned generation;        /* of the code that makes the pool */
    unsigned threads;           /* from 1 */
    uint64_t queue;             /* calls that may wait */
    size_t queue_bytes;         /* and the bytes of their arguments; the most for results, too */
    size_t memory;              /* bytes of the Lua state of a thread; 0: the default */
    double budget, load_budget; /* seconds of CPU time for a call, and for loading */
    const char *path, *library_path, *cpath; /* where modules are; see pool_thread.lua */
};

enum pool_status {
    POOL_RETURNED, /* the results are those of the function */
    POOL_THROWN,   /* message, traceback, kind, value (see pool_thread.lua) */
    POOL_UNKNOWN,  /* a hint: the module has no such function */
    POOL_TIMEOUT,
    POOL_CLOSED,
    POOL_FULL,
};

/* `wake` wakes a task: false if it has ended, so that the results of its call are dropped. */
struct pool_client *pool_client_new(struct pools *pools, uv_loop_t *loop,
                                    bool (*wake)(void *user, uint64_t task), void *user);
/* Forgets all calls, and holds no pool any more. The loop must run once more, which frees it.
 * Accepts NULL. */
void pool_client_close(struct pool_client *client);
/* Do calls wait for their results? */
bool pool_client_has_calls(const struct pool_client *client);

/* Opens a pool, perhaps one that another worker has made. 0: it cannot be made, and `why` gets a
 * sentence. */
uint64_t pool_client_open(struct pool_client *client, const struct pool_options *options, char *why,
                          size_t size);
/* Holds the pool no longer. */
void pool_client_release(struct pool_client *client, uint64_t pool);
/* The script files of a pool, one a line. Valid until the next call of a function here. */
struct slice pool_client_files(struct pool_client *client, uint64_t pool);

/* The buffer for the name of the function and the arguments of the next call, as plain data. */
struct buffer *pool_client_arguments(struct pool_client *client);
/* Makes the call. `task` is woken when it is done or its time is over. Returns its number; 0: the
 * call is not made, for the reason in `status`. */
uint64_t pool_client_call(struct pool_client *client, uint64_t pool, uint64_t task,
                          uint64_t timeout_ms, enum pool_status *status);
/* Waits for the end of loading. 0: it has ended, or there is no such pool. */
uint64_t pool_client_load(struct pool_client *client, uint64_t pool, uint64_t task);
/* Why the module could not be loaded; empty: it was loaded. Valid as pool_client_files(). */
struct slice pool_client_failure(struct pool_client *client, uint64_t pool);

/* Is the call done? Its results are valid until pool_client_forget(). */
bool pool_client_result(struct pool_client *client, uint64_t call, enum pool_status *status,
                        struct slice *results);
/* Forgets a call, done or not. */
void pool_client_forget(struct pool_client *client, uint64_t call);

#endif
