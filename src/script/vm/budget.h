/* budget.h -- how much CPU time scripts may take, for the watchdog.
 *
 * A run lasts from the moment at which C calls Lua until Lua has returned or yielded to it: a hook
 * from its begin to its end, or to where it sleeps. Each run has a number, which is odd while Lua
 * runs; to count it is all that a run costs. The watchdog's thread (server/workers/watchdog.c)
 * reads it now and then, together with the CPU time of the worker's thread. When a run takes too
 * long, it sends that thread a signal, whose handler calls budget_interrupt(). budget.c has the
 * rest. */
#ifndef TIDEWIRE_SCRIPT_VM_BUDGET_H
#define TIDEWIRE_SCRIPT_VM_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct budget;
struct script_line;

struct budget_sample {
    uint64_t run;     /* 0: no Lua runs */
    uint64_t used_ns; /* CPU time since the watchdog first saw this run: no more than it took */
    uint64_t over_ns; /* as much of it as the run's budget does not allow */
    bool is_over;     /* send the signal, again and again until there is another run */
};

/* The watchdog's thread. `cpu_ns` is the CPU time of the worker's thread. */
struct budget_sample budget_sample(struct budget *budget, uint64_t cpu_ns);
/* Any thread: the smallest budget of all runs. */
uint64_t budget_least_ns(const struct budget *budget);

/* The watchdog's thread: asks for the line that this run is at, before it sends the signal. */
void budget_want_line(struct budget *budget, uint64_t run);
/* True: it is known now. Lua tells it before its next instruction, not while a C function runs. */
bool budget_line(const struct budget *budget, uint64_t run, struct script_line *line);

/* In a signal handler on the worker's thread. */
void budget_interrupt(void);

#endif
