/* limit.h -- limits that all workers share: on a number of things, on a number of bytes.
 *
 * The caller takes a unit before it uses it and releases it once, so a limit holds to the last unit
 * however many threads take units at the same time. Any thread. */
#ifndef TIDEWIRE_BASE_LIMIT_H
#define TIDEWIRE_BASE_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- things: sockets, connections ---- */

struct limit {
    _Atomic uint32_t taken;
    _Atomic uint32_t max; /* 0: no limit; set it before other threads take units */
};

/* Takes one. False: the limit is reached. */
static inline bool limit_take(struct limit *limit) {
    uint32_t max = atomic_load_explicit(&limit->max, memory_order_relaxed);
    uint32_t before = atomic_fetch_add_explicit(&limit->taken, 1, memory_order_relaxed);
    if (max == 0 || before < max)
        return true;
    atomic_fetch_sub_explicit(&limit->taken, 1, memory_order_relaxed);
    return false;
}

/* Takes one even where the limit is reached. */
static inline void limit_take_anyway(struct limit *limit) {
    atomic_fetch_add_explicit(&limit->taken, 1, memory_order_relaxed);
}

/* Is the limit reached now? */
static inline bool limit_full(const struct limit *limit) {
    uint32_t max = atomic_load_explicit(&limit->max, memory_order_relaxed);
    return max > 0 && atomic_load_explicit(&limit->taken, memory_order_relaxed) >= max;
}

static inline void limit_release(struct limit *limit) {
    atomic_fetch_sub_explicit(&limit->taken, 1, memory_order_relaxed);
}

static inline uint32_t limit_taken(const struct limit *limit) {
    return atomic_load_explicit(&limit->taken, memory_order_relaxed);
}

static inline uint32_t limit_max(const struct limit *limit) {
    return atomic_load_explicit(&limit->max, memory_order_relaxed);
}

/* ---- bytes, of all owners and of one owner ---- */

struct byte_limit {
    _Atomic size_t taken;
    _Atomic size_t max;
    _Atomic size_t max_of_one; /* for each owner, which may exceed it with its first bytes */
};

enum limit_result { LIMIT_TAKEN, LIMIT_FULL, LIMIT_FULL_OF_ONE };

/* Takes `bytes`. `mine` counts the owner's bytes; NULL: the owner has no limit of its own. */
static inline enum limit_result limit_take_bytes(struct byte_limit *limit, _Atomic size_t *mine,
                                                 size_t bytes) {
    size_t before = atomic_fetch_add_explicit(&limit->taken, bytes, memory_order_relaxed);
    size_t max = atomic_load_explicit(&limit->max, memory_order_relaxed);
    enum limit_result result = LIMIT_TAKEN;
    if (before > max || bytes > max - before)
        result = LIMIT_FULL;
    else if (mine != NULL) {
        size_t had = atomic_fetch_add_explicit(mine, bytes, memory_order_relaxed);
        max = atomic_load_explicit(&limit->max_of_one, memory_order_relaxed);
        if (had == 0 || (had <= max && bytes <= max - had))
            return LIMIT_TAKEN;
        atomic_fetch_sub_explicit(mine, bytes, memory_order_relaxed);
        result = LIMIT_FULL_OF_ONE;
    }
    if (result != LIMIT_TAKEN)
        atomic_fetch_sub_explicit(&limit->taken, bytes, memory_order_relaxed);
    return result;
}

static inline void limit_release_bytes(struct byte_limit *limit, _Atomic size_t *mine,
                                       size_t bytes) {
    if (bytes == 0)
        return;
    atomic_fetch_sub_explicit(&limit->taken, bytes, memory_order_relaxed);
    if (mine != NULL)
        atomic_fetch_sub_explicit(mine, bytes, memory_order_relaxed);
}

#endif
