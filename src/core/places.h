/* places.h -- how many connections there may be, counted over all workers.
 *
 * A place is taken before it is used and given back once, so a limit holds to the last unit however many
 * threads ask at the same time. Any thread. */
#ifndef TIDEWIRE_CORE_PLACES_H
#define TIDEWIRE_CORE_PLACES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct places {
    _Atomic uint32_t taken;
    _Atomic uint32_t max; /* 0: no limit; set before others ask */
};

/* One place. False: there is none. */
static inline bool places_take(struct places *places) {
    uint32_t max = atomic_load_explicit(&places->max, memory_order_relaxed);
    uint32_t before = atomic_fetch_add_explicit(&places->taken, 1, memory_order_relaxed);
    if (max == 0 || before < max)
        return true;
    atomic_fetch_sub_explicit(&places->taken, 1, memory_order_relaxed);
    return false;
}

/* Is none left at this moment? */
static inline bool places_full(const struct places *places) {
    uint32_t max = atomic_load_explicit(&places->max, memory_order_relaxed);
    return max > 0 && atomic_load_explicit(&places->taken, memory_order_relaxed) >= max;
}

static inline void places_give(struct places *places) {
    atomic_fetch_sub_explicit(&places->taken, 1, memory_order_relaxed);
}

static inline uint32_t places_taken(const struct places *places) {
    return atomic_load_explicit(&places->taken, memory_order_relaxed);
}

static inline uint32_t places_max(const struct places *places) {
    return atomic_load_explicit(&places->max, memory_order_relaxed);
}

#endif
