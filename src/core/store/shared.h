/* shared.h -- tw.shared: the named stores that every worker of the process sees.
 *
 * The server makes one and hands it to its workers; a store is made by the first who opens it, and
 * stays. Any thread. What a store is and does: store.h. */
#ifndef TIDEWIRE_CORE_STORE_SHARED_H
#define TIDEWIRE_CORE_STORE_SHARED_H

#include "core/store/store.h"

enum { SHARED_MAX_STORES = 256 };

struct shared;

/* No store yet. `now_ms` must be monotonic and is called by any thread; NULL: the system's clock.
 * */
struct shared *shared_new(uint64_t (*now_ms)(void *user), void *user);
/* No thread may use it or its stores any more. Accepts NULL. */
void shared_free(struct shared *shared);

/* The number of the store with this name, made at the first call, which decides on its ceiling. -1:
 * there are SHARED_MAX_STORES already. */
int shared_open(struct shared *shared, struct slice name, size_t max_bytes);
/* The store with this number, or NULL. Takes no lock. */
struct store *shared_find(struct shared *shared, int64_t number);

/* Milliseconds until shared_sweep() has something to do, or -1. Takes no lock. */
int64_t shared_next_ms(struct shared *shared);
/* Gives back memory of entries whose time is over. Each worker calls it when shared_next_ms() says
 * so; one of them does the work. */
void shared_sweep(struct shared *shared);

#endif
