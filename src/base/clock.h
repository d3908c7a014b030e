/* clock.h -- the clocks: monotonic for durations, wall for timestamps, processor time for budgets.
 *
 * Any thread. The hub does not call these functions: it takes the time from a function of its
 * options, so that tests can set it. */
#ifndef TIDEWIRE_BASE_CLOCK_H
#define TIDEWIRE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds on a clock; 0 when the clock does not exist, as that of a thread that has ended. */
static inline uint64_t clock_ns(clockid_t clock) {
    struct timespec t = {0};
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Monotonic nanoseconds since some fixed point. */
static inline uint64_t clock_monotonic_ns(void) {
    return clock_ns(CLOCK_MONOTONIC);
}

/* Monotonic milliseconds since the same point. */
static inline uint64_t clock_monotonic_ms(void) {
    return clock_monotonic_ns() / 1000000;
}

/* Monotonic seconds since the same point, with a fraction. */
static inline double clock_monotonic_seconds(void) {
    return (double)clock_monotonic_ns() / 1e9;
}

/* Nanoseconds of processor time that the calling thread has used. */
static inline uint64_t clock_thread_cpu_ns(void) {
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* Seconds since 1970-01-01 UTC, with a fraction. */
static inline double clock_wall_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#endif
