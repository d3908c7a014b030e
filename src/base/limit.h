/* limit.h -- how many connections there may be, counted over all workers.
 *
 * A place is taken before it is used and given back once, so a limit holds to the last unit however
 * many threads ask at the same time. Any thread. */
#ifndef TIDEWIRE_BASE_LIMIT_H
#define TIDEWIRE_BASE_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct limit {
    _Atomic uint32_t taken;
    _Atomic uint32_t max; /* 0: no limit; set before others ask */
};

/* One place. False: there is none. */
static inline bool limit_take(struct limit *limit) {
    uint32_t max = atomic_load_explicit(&limit->max, memory_order_relaxed);
    uint32_t before = atomic_fetch_add_explicit(&limit->taken, 1, memory_order_relaxed);
    if (max == 0 || before < max)
        return true;
    atomic_fetch_sub_explicit(&limit->taken, 1, memory_order_relaxed);
    return false;
}

/* Is none left at this moment? */
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

#endif
