/* shared.c -- the stores of the process. See shared.h.
 *
 * Stores are never removed, so a store's number finds it without a lock.
 *
 * Sweeping only frees memory and is not urgent: a worker's timer wakes for it at most once a
 * second, at the clock's `sweep_at`, while any key has a time-to-live. The first worker takes the
 * work by setting `sweep_at` to never; keys that others give a time-to-live meanwhile set it anew.
 */
#include "core/store/shared.h"

#include "base/clock.h"
#include "base/mem.h"

#include <uv.h>

enum { SWEEP_PAUSE_MS = 20 }; /* between two parts of a long sweep */

struct shared {
    struct store_clock clock;
    uv_mutex_t opening;
    _Atomic uint32_t count; /* the stores below it exist, and stay */
    struct store *stores[SHARED_MAX_STORES];
    bool unopened[SHARED_MAX_STORES]; /* made by shared_unpack() only; under `opening` */
};

static uint64_t system_ms(void *user) {
    (void)user;
    return clock_monotonic_ms();
}

struct shared *shared_new(uint64_t (*now_ms)(void *user), void *user) {
    struct shared *shared = mem_zalloc(sizeof *shared);
    shared->clock.now_ms = now_ms == NULL ? system_ms : now_ms;
    shared->clock.user = user;
    atomic_init(&shared->clock.sweep_at, STORE_NEVER);
    uv_mutex_init(&shared->opening);
    return shared;
}

void shared_free(struct shared *shared) {
    if (shared == NULL)
        return;
    for (uint32_t i = 0; i < atomic_load(&shared->count); i++)
        store_free(shared->stores[i]);
    uv_mutex_destroy(&shared->opening);
    mem_free(shared);
}

static int find_name(struct shared *shared, struct slice name) {
    for (uint32_t i = 0; i < atomic_load(&shared->count); i++) {
        struct slice other = store_name(shared->stores[i]);
        if (other.len == name.len && memcmp(other.bytes, name.bytes, name.len) == 0)
            return (int)i;
    }
    return -1;
}

/* The caller holds the lock. */
static int open_locked(struct shared *shared, struct slice name, size_t max_bytes, bool unpacks) {
    int number = find_name(shared, name);
    uint32_t count = atomic_load(&shared->count);
    if (number < 0 && count < SHARED_MAX_STORES) {
        number = (int)count;
        shared->stores[count] = store_new(name, max_bytes, &shared->clock);
        shared->unopened[count] = unpacks;
        atomic_store(&shared->count, count + 1); /* other threads find it from now on */
    } else if (number >= 0 && shared->unopened[number] && !unpacks) {
        shared->unopened[number] = false;
        store_set_max_bytes(shared->stores[number], max_bytes);
    }
    return number;
}

int shared_open(struct shared *shared, struct slice name, size_t max_bytes) {
    uv_mutex_lock(&shared->opening);
    int number = open_locked(shared, name, max_bytes, false);
    uv_mutex_unlock(&shared->opening);
    return number;
}

uint32_t shared_count(struct shared *shared) {
    return atomic_load(&shared->count);
}

struct store *shared_find(struct shared *shared, int64_t number) {
    bool known = number >= 0 && number < (int64_t)atomic_load(&shared->count);
    return known ? shared->stores[number] : NULL;
}

/* ---- packed stores ---- */

size_t shared_pack(struct shared *shared, uint32_t number, uint64_t wall_ms, struct sink *sink) {
    struct store *store = shared->stores[number];
    struct slice name = store_name(store);
    pack_text(sink, name.bytes, name.len);
    pack_number(sink, store_max_bytes(store));
    return store_pack(store, wall_ms, sink);
}

bool shared_unpack(struct shared *shared, struct slice packed, uint64_t wall_ms,
                   struct store_unpacked *result) {
    struct slice name;
    uint64_t max_bytes;
    if (!unpack_text(&packed, &name) || !unpack_number(&packed, &max_bytes) || max_bytes > SIZE_MAX)
        return false;
    struct store *store = NULL;
    struct store_unpacked read = {0};
    if (shared != NULL) {
        uv_mutex_lock(&shared->opening);
        int number = open_locked(shared, name, (size_t)max_bytes, true);
        uv_mutex_unlock(&shared->opening);
        store = shared_find(shared, number);
    }
    bool is_whole = store_unpack(store, &packed, wall_ms, &read) && packed.len == 0;
    bool is_refused = shared != NULL && store == NULL;
    result->entries += is_refused ? 0 : read.entries;
    result->refused += is_refused ? read.entries : read.refused;
    result->expired += read.expired;
    return is_whole;
}

/* ---- sweeping ---- */

static uint64_t now_ms(struct shared *shared) {
    return shared->clock.now_ms(shared->clock.user);
}

int64_t shared_next_ms(struct shared *shared) {
    uint64_t at = atomic_load(&shared->clock.sweep_at);
    if (at == STORE_NEVER)
        return -1;
    uint64_t now = now_ms(shared);
    return at <= now ? 0 : (int64_t)(at - now);
}

void shared_sweep(struct shared *shared) {
    uint64_t now = now_ms(shared), at = atomic_load(&shared->clock.sweep_at);
    if (at > now || !atomic_compare_exchange_strong(&shared->clock.sweep_at, &at, STORE_NEVER))
        return;
    bool done = true;
    for (uint32_t i = 0; i < atomic_load(&shared->count); i++)
        done = store_sweep(shared->stores[i]) && done;
    if (!done)
        store_sweep_at(&shared->clock, now + SWEEP_PAUSE_MS);
}
