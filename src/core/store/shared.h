/* shared.h -- tw.shared: the named stores that all workers of the process share.
 *
 * The first shared_open() of a name makes its store, which stays until the process ends. Any
 * thread. store.h says what a store does. */
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

/* The number of the store with this name. The first call makes it, with this limit. -1: there are
 * SHARED_MAX_STORES already. */
int shared_open(struct shared *shared, struct slice name, size_t max_bytes);
/* How many stores there are. */
uint32_t shared_count(struct shared *shared);
/* The store with this number, or NULL. Takes no lock. */
struct store *shared_find(struct shared *shared, int64_t number);

/* Packs the name of a store, its limit and its entries. Returns the number of entries. */
size_t shared_pack(struct shared *shared, uint32_t number, uint64_t wall_ms, struct sink *sink);
/* Sets the entries of a packed store, which it makes where there is none of the name; the next
 * shared_open() sets the limit of that one. NULL: only reads. False: the bytes are no store. Where
 * there are SHARED_MAX_STORES, all entries are refused. */
bool shared_unpack(struct shared *shared, struct slice packed, uint64_t wall_ms,
                   struct store_unpacked *result);

/* Milliseconds until shared_sweep() has work, or -1. Takes no lock. */
int64_t shared_next_ms(struct shared *shared);
/* Frees expired entries. Each worker calls it when shared_next_ms() is over; one of them does the
 * work. */
void shared_sweep(struct shared *shared);

#endif
