/* byte_limit.h -- how many bytes there may be of something, counted over all workers, and how many
 * of one owner.
 *
 * Bytes are taken before memory is used for them and given back once. Any thread. */
#ifndef TIDEWIRE_BASE_BYTE_LIMIT_H
#define TIDEWIRE_BASE_BYTE_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct byte_limit {
    _Atomic size_t taken;
    _Atomic size_t max;
    _Atomic size_t max_of_one; /* of one owner; one that has nothing may take more at once */
};

enum byte_limit_result { BYTE_LIMIT_TAKEN, BYTE_LIMIT_FULL, BYTE_LIMIT_FULL_OF_ONE };

/* `bytes` more, of which `mine` counts the owner's; NULL: an owner without a share of its own. */
static inline enum byte_limit_result byte_limit_take(struct byte_limit *byte_limit,
                                                     _Atomic size_t *mine, size_t bytes) {
    size_t before = atomic_fetch_add_explicit(&byte_limit->taken, bytes, memory_order_relaxed);
    size_t max = atomic_load_explicit(&byte_limit->max, memory_order_relaxed);
    enum byte_limit_result result = BYTE_LIMIT_TAKEN;
    if (before > max || bytes > max - before)
        result = BYTE_LIMIT_FULL;
    else if (mine != NULL) {
        size_t had = atomic_fetch_add_explicit(mine, bytes, memory_order_relaxed);
        max = atomic_load_explicit(&byte_limit->max_of_one, memory_order_relaxed);
        if (had == 0 || (had <= max && bytes <= max - had))
            return BYTE_LIMIT_TAKEN;
        atomic_fetch_sub_explicit(mine, bytes, memory_order_relaxed);
        result = BYTE_LIMIT_FULL_OF_ONE;
    }
    if (result != BYTE_LIMIT_TAKEN)
        atomic_fetch_sub_explicit(&byte_limit->taken, bytes, memory_order_relaxed);
    return result;
}

static inline void byte_limit_release(struct byte_limit *byte_limit, _Atomic size_t *mine,
                                      size_t bytes) {
    if (bytes == 0)
        return;
    atomic_fetch_sub_explicit(&byte_limit->taken, bytes, memory_order_relaxed);
    if (mine != NULL)
        atomic_fetch_sub_explicit(mine, bytes, memory_order_relaxed);
}

#endif
