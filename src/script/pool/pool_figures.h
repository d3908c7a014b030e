/* pool_figures.h -- the counts of pools, by the name of the module.
 *
 * Pools of several generations with one name count together, so that a reload starts no count
 * anew. Any thread. */
#ifndef TIDEWIRE_SCRIPT_POOL_POOL_FIGURES_H
#define TIDEWIRE_SCRIPT_POOL_POOL_FIGURES_H

#include <stdint.h>

struct pools;

/* The bounds of the histograms of times, in milliseconds; the last bucket has none. */
#define POOL_TIME_BOUNDS                                                                           \
    { 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000 }
enum { POOL_TIME_BUCKETS = 13 };

struct pool_times {
    uint64_t buckets[POOL_TIME_BUCKETS]; /* each alone */
    uint64_t sum_ns;
};

struct pool_figures {
    const char *name;            /* lasts as long as the pools */
    uint64_t threads, busy;      /* threads that live; those that run a call */
    uint64_t queue, queue_bytes; /* calls that wait, and the bytes of their arguments */
    uint64_t calls;              /* that were put into the queue */
    uint64_t errors;             /* that have thrown */
    uint64_t timeouts;           /* whose time was over */
    uint64_t refused;            /* that found the queue full */
    struct pool_times wait, run; /* of calls in the queue; of calls in a thread */
};

/* Calls f for each name, in the order of the first pool with it. */
void pools_figures(struct pools *pools, void (*f)(void *user, const struct pool_figures *figures),
                   void *user);

#endif
