/* watchdog.h -- a thread that interrupts scripts which take too long, and reports turns which do.
 *
 * Checks each worker several times in the shortest time that a script may take. The interrupted run
 * ends itself, on its own thread: see script/vm/budget.h. */
#ifndef TIDEWIRE_SERVER_WORKERS_WATCHDOG_H
#define TIDEWIRE_SERVER_WORKERS_WATCHDOG_H

#include "script/vm/budget.h"

struct refusals;
struct vm;
struct watchdog;

/* Starts the thread. A process has only one, as the signal is the process's. NULL after the error
 * was logged. `counts`: where turns that take too long are counted; borrowed. */
struct watchdog *watchdog_new(struct refusals *counts);
/* No thread may be watched any more. Accepts NULL. */
void watchdog_free(struct watchdog *watchdog);

/* Watches the calling thread, until watchdog_release(). `worker`: its number, for the log. */
void watchdog_watch(struct watchdog *watchdog, struct budget *budget, unsigned worker);
/* The same for a thread of a pool; its name, for the log, is borrowed until watchdog_release(). */
void watchdog_watch_pool(struct watchdog *watchdog, struct budget *budget, const char *pool);
/* Watches the turns of the calling thread's loop as well; `vm` NULL: not any more. */
void watchdog_watch_turns(struct watchdog *watchdog, const struct vm *vm, unsigned worker);
/* The calling thread's turn ends, after BLOCKED_MS or more (blocked.h): logs and counts it, if it
 * is watched. */
void watchdog_end_turn(struct watchdog *watchdog, unsigned worker, double seconds);
/* Does nothing where the budget is not watched. */
void watchdog_release(struct watchdog *watchdog, const struct budget *budget);

#endif
