/* watchdog.h -- a thread that interrupts scripts which take too long.
 *
 * Checks each worker several times in the shortest time that a script may take. The interrupted run
 * ends itself, on its own thread: see script/vm/budget.h. */
#ifndef TIDEWIRE_SERVER_WORKERS_WATCHDOG_H
#define TIDEWIRE_SERVER_WORKERS_WATCHDOG_H

#include "script/vm/budget.h"

struct watchdog;

/* Starts the thread. A process has only one, as the signal is the process's. NULL after the error
 * was logged. */
struct watchdog *watchdog_new(void);
/* No thread may be watched any more. Accepts NULL. */
void watchdog_free(struct watchdog *watchdog);

/* Watches the calling thread, until watchdog_release(). `worker`: its number, for the log. */
void watchdog_watch(struct watchdog *watchdog, struct budget *budget, unsigned worker);
/* Does nothing where the budget is not watched. */
void watchdog_release(struct watchdog *watchdog, const struct budget *budget);

#endif
