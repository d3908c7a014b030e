/* turn.h -- the turn of a loop: when the one of this thread began, and how long one kind of work
 * may run in it before the other kinds run.
 *
 * Scripts and clients decide the amount of some work: due timers, woken coroutines, waiting hooks,
 * queues to be written. Such work stops when its slice is over and continues in the next turn; the
 * loop reads and writes sockets between. Each turn does at least one piece of it, which may exceed
 * the slice.
 *
 * A turn lasts from the moment at which the loop has waited for events until it waits again. libuv
 * reads the clock at these events and calls nothing of ours before them. So the callbacks that
 * begin work note libuv's time, and a turn costs no look at the clock, unless it may have been
 * long. */
#ifndef TIDEWIRE_BASE_TURN_H
#define TIDEWIRE_BASE_TURN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum { TURN_SLICE_NS = 5 * 1000 * 1000 };

/* Private to the functions below, and to the thread's worker. */
struct turn {
    _Atomic uint64_t began_ms; /* monotonic; 0: the loop waits. The watchdog reads it */
    atomic_bool may_be_long;   /* its end needs a look at the clock. The watchdog sets it, too */
};

/* Of the calling thread. */
extern _Thread_local struct turn turn_of_thread;

static inline uint64_t turn_began_ms(const struct turn *turn) {
    return atomic_load_explicit(&turn->began_ms, memory_order_relaxed);
}

/* For turn_begin(). */
void turn_note_begin(const uv_loop_t *loop);

/* In each callback of libuv that does work. */
static inline void turn_begin(const uv_loop_t *loop) {
    if (turn_began_ms(&turn_of_thread) == 0)
        turn_note_begin(loop);
}

/* Any thread: the turn has lasted for long, or will have. */
static inline void turn_set_long(struct turn *turn, bool may_be_long) {
    atomic_store_explicit(&turn->may_be_long, may_be_long, memory_order_relaxed);
}

/* Work was done that uv_now() may not show at the end of the turn. */
static inline void turn_note_work(void) {
    turn_set_long(&turn_of_thread, true);
}

static inline bool turn_may_be_long(void) {
    return atomic_load_explicit(&turn_of_thread.may_be_long, memory_order_relaxed);
}

static inline void turn_end(void) {
    atomic_store_explicit(&turn_of_thread.began_ms, 0, memory_order_relaxed);
    turn_set_long(&turn_of_thread, false);
}

#endif
