/* quota.h -- how many bytes there may be of something, counted over all workers, and how many of
 * one owner.
 *
 * Bytes are taken before memory is used for them and given back once. Any thread. */
#ifndef TIDEWIRE_CORE_QUOTA_H
#define TIDEWIRE_CORE_QUOTA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct quota {
    _Atomic size_t taken;
    _Atomic size_t max;
    _Atomic size_t max_of_one; /* of one owner; one that has nothing may take more at once */
};

enum quota_result { QUOTA_TAKEN, QUOTA_FULL, QUOTA_FULL_OF_ONE };

/* `bytes` more, of which `mine` counts the owner's; NULL: an owner without a share of its own. */
static inline enum quota_result quota_take(struct quota *quota, _Atomic size_t *mine,
                                           size_t bytes) {
    size_t before = atomic_fetch_add_explicit(&quota->taken, bytes, memory_order_relaxed);
    size_t max = atomic_load_explicit(&quota->max, memory_order_relaxed);
    enum quota_result result = QUOTA_TAKEN;
    if (before > max || bytes > max - before)
        result = QUOTA_FULL;
    else if (mine != NULL) {
        size_t had = atomic_fetch_add_explicit(mine, bytes, memory_order_relaxed);
        max = atomic_load_explicit(&quota->max_of_one, memory_order_relaxed);
        if (had == 0 || (had <= max && bytes <= max - had))
            return QUOTA_TAKEN;
        atomic_fetch_sub_explicit(mine, bytes, memory_order_relaxed);
        result = QUOTA_FULL_OF_ONE;
    }
    if (result != QUOTA_TAKEN)
        atomic_fetch_sub_explicit(&quota->taken, bytes, memory_order_relaxed);
    return result;
}

static inline void quota_give(struct quota *quota, _Atomic size_t *mine, size_t bytes) {
    if (bytes == 0)
        return;
    atomic_fetch_sub_explicit(&quota->taken, bytes, memory_order_relaxed);
    if (mine != NULL)
        atomic_fetch_sub_explicit(mine, bytes, memory_order_relaxed);
}

#endif
