/* pools.h -- the pools of the process: threads in which modules of scripts may block.
 *
 * A pool has a module's name and a generation of the app's code, and threads with a Lua state each.
 * All workers share it: each holds it as long as its code of that generation runs. A pool that no
 * worker holds any more makes the calls that it has got already, and ends its threads.
 *
 * A worker has a client, which makes its calls and gets their results in batches on its loop
 * (pool_client.h). Where threads are started and watched is the server's matter: it passes
 * functions for that. */
#ifndef TIDEWIRE_SCRIPT_POOL_POOLS_H
#define TIDEWIRE_SCRIPT_POOL_POOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct budget;
struct pools;
struct vm_bindings;

/* What the server does for pools. */
struct pools_functions {
    const struct vm_bindings *bindings;
    /* Starts a thread with so many bytes of stack. 0 or a negative uv code. */
    int (*start)(uv_thread_t *thread, uv_thread_cb run, void *argument, size_t stack);
    /* On a new thread: the runs of this budget are watched from now on. `name` is borrowed until
     * release(), for the log. */
    void (*watch)(void *user, struct budget *budget, const char *name);
    void (*release)(void *user, const struct budget *budget);
    void *user;
};

struct pools *pools_new(const struct pools_functions *functions);
/* How long pools_end() may wait, and the bytes of its sentence. */
enum { POOLS_END_MS = 3000, POOLS_WHY_BYTES = 256 };

/* Ends all threads; functions that run are interrupted. Waits until they have ended, for so many
 * milliseconds at most. False: some do not end; `why` gets a sentence. */
bool pools_end(struct pools *pools, unsigned ms, char *why, size_t size);
/* After pools_end() has returned true. */
void pools_free(struct pools *pools);

#endif
