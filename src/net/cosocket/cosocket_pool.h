/* cosocket_pool.h -- connections that scripts have kept, by a key, for the next one that needs one.
 *
 * A kept connection is closed when its peer closes it or sends anything, after its time, when its
 * key has too many, and when the worker needs its descriptor. Owned by cosockets.c. One worker's
 * thread. */
#ifndef TIDEWIRE_NET_COSOCKET_COSOCKET_POOL_H
#define TIDEWIRE_NET_COSOCKET_COSOCKET_POOL_H

#include "net/cosocket/cosocket.h"

struct cosocket_pools;

/* Counts in `stats`, which is borrowed. */
struct cosocket_pools *cosocket_pools_new(uv_loop_t *loop, struct stats *stats);
/* Takes the socket, which is idle; see `keep` of struct cosocket_functions. */
void cosocket_pools_add(struct cosocket_pools *pools, struct cosocket *socket, struct slice key,
                        uint64_t idle_ms, uint32_t most);
/* The caller frees it. NULL: the key has none that is good. */
struct cosocket *cosocket_pools_take(struct cosocket_pools *pools, struct slice key);
/* Closes the one that was kept first. False: there is none. */
bool cosocket_pools_close_oldest(struct cosocket_pools *pools);
/* Closes all. The loop must run until it has no handles before cosocket_pools_free(). */
void cosocket_pools_stop(struct cosocket_pools *pools);
void cosocket_pools_free(struct cosocket_pools *pools);

#endif
