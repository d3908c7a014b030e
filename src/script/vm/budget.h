/* budget.h -- how much CPU time scripts may take, as the watchdog sees it.
 *
 * A run is what Lua does between two moments in which C is in charge: a hook from its begin to its
 * end, or to where it sleeps. Each has a number, which is odd while Lua runs; that is all a run
 * costs. A thread beside the workers (server/workers/watchdog.c) reads it now and then, together
 * with the CPU time of the worker's thread, and when one run takes too long sends the thread a
 * signal, whose handler calls budget_interrupt(). What happens then is told in budget.c. */
#ifndef TIDEWIRE_SCRIPT_VM_BUDGET_H
#define TIDEWIRE_SCRIPT_VM_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct budget;

struct budget_sample {
    uint64_t run; /* 0: no Lua runs */
    uint64_t
        used_ns;  /* CPU time since the watchdog saw this run first: no more than it has taken */
    bool is_over; /* send the signal, again and again until the run is another */
};

/* The watchdog's thread. `cpu_ns` is the CPU time of the worker's thread. */
struct budget_sample budget_sample(struct budget *budget, uint64_t cpu_ns);
/* Any thread: the smallest budget that a run may have. */
uint64_t budget_least_ns(const struct budget *budget);

/* From a signal handler on the worker's thread. */
void budget_interrupt(void);

#endif
