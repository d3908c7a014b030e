/* memory_trim.c -- freed memory goes back to the system while the process has little to do.
 *
 * malloc returns only what is free at the end of its heap. After a peak of traffic one block that
 * lives there would keep all the memory of the peak. malloc_trim() returns the free pages between
 * blocks as well, in some 0.1 ms for each MiB, and holds malloc's lock meanwhile: so it is called
 * when the process has used little CPU time for a second. */
#include "server/memory_trim.h"

#include "base/clock.h"
#include "server/resources.h"

#include <malloc.h>

/* A process that uses less than CALM_NS of CPU time in a period has little to do. */
enum { PERIOD_MS = 1000, CALM_NS = 250 * 1000000 };

/* Less free memory is left to malloc. */
enum { MIN_BYTES = 8 * 1024 * 1024 };

/* To count the free memory, mallinfo2() walks over all free blocks, and holds malloc's lock. Its
 * CPU time may be this part of all time. */
enum { LOOK_PART = 1000 };

/* Resident memory that no block of malloc's is in: code, stacks, and free memory of malloc's. */
static uint64_t unused_bytes(void) {
    struct mallinfo2 info = mallinfo2();
    uint64_t resident_bytes = resources_resident_bytes(), used_bytes = info.uordblks + info.hblkhd;
    return resident_bytes > used_bytes ? resident_bytes - used_bytes : 0;
}

static void on_tick(uv_timer_t *timer) {
    struct memory_trim *trim = timer->data;
    uint64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID), used_ns = cpu_ns - trim->cpu_ns;
    trim->cpu_ns = cpu_ns;
    uint64_t now_ns = clock_monotonic_ns();
    if (used_ns >= CALM_NS || now_ns < trim->next_look_ns)
        return;
    uint64_t began_ns = clock_thread_cpu_ns(), unused = unused_bytes();
    trim->next_look_ns = now_ns + LOOK_PART * (clock_thread_cpu_ns() - began_ns);
    if (unused >= trim->unused_bytes + MIN_BYTES) {
        malloc_trim(0);
        unused = unused_bytes();
    } else if (unused > trim->unused_bytes) {
        return;
    }
    trim->unused_bytes = unused;
}

void memory_trim_open(struct memory_trim *trim, uv_loop_t *loop) {
    *trim = (struct memory_trim){0};
    uv_timer_init(loop, &trim->timer);
    trim->timer.data = trim;
    uv_timer_start(&trim->timer, on_tick, PERIOD_MS, PERIOD_MS);
}

void memory_trim_close(struct memory_trim *trim) {
    uv_close((uv_handle_t *)&trim->timer, NULL);
}
