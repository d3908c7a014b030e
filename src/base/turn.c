/* turn.c -- the turn of each thread's loop. See turn.h. */
#include "base/turn.h"

_Thread_local struct turn turn_of_thread;

__attribute__((noinline)) void turn_note_begin(const uv_loop_t *loop) {
    atomic_store_explicit(&turn_of_thread.began_ms, uv_now(loop), memory_order_relaxed);
}
