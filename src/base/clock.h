/* clock.h -- the two clocks everyone uses: monotonic for durations, wall for timestamps.
 *
 * Any thread. Deadlines in the hub are not read from here but handed in, so that they can be tested. */
#ifndef TIDEWIRE_BASE_CLOCK_H
#define TIDEWIRE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Monotonic nanoseconds since some fixed point. */
static inline uint64_t clock_monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Seconds since 1970-01-01 UTC, with a fraction. */
static inline double clock_wall_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#endif
