/* memory_trim.h -- freed memory goes back to the system while the process has little to do. Main
 * thread. See memory_trim.c. */
#ifndef TIDEWIRE_SERVER_MEMORY_TRIM_H
#define TIDEWIRE_SERVER_MEMORY_TRIM_H

#include <stdint.h>
#include <uv.h>

/* A member of struct server. */
struct memory_trim {
    /* private */
    uv_timer_t timer;
    uint64_t cpu_ns;       /* of the process, at the last tick */
    uint64_t next_look_ns; /* monotonic time from which it looks again */
    uint64_t unused_bytes; /* resident memory without a block of malloc's: the least
                            * since the last trim */
};

void memory_trim_open(struct memory_trim *trim, uv_loop_t *loop);
/* The loop must run once more. */
void memory_trim_close(struct memory_trim *trim);

#endif
