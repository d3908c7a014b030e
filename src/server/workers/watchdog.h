/* watchdog.h -- a thread that sees when a worker's script takes too long, and interrupts it.
 *
 * Looks at each worker several times in the shortest time that a script may take. What it
 * interrupts ends itself, on its own thread: see script/vm/budget.h. */
#ifndef TIDEWIRE_SERVER_WORKERS_WATCHDOG_H
#define TIDEWIRE_SERVER_WORKERS_WATCHDOG_H

#include "script/vm/budget.h"

struct watchdog;

/* Starts the thread. Only one at a time: the signal is the process's. NULL after a log line. */
struct watchdog *watchdog_new(void);
/* Nobody may be watched any more. Accepts NULL. */
void watchdog_free(struct watchdog *watchdog);

/* The calling thread: watch it, until watchdog_release(). `worker`: its number, for the log. */
void watchdog_watch(struct watchdog *watchdog, struct budget *budget, unsigned worker);
/* Does nothing for one that is not watched. */
void watchdog_release(struct watchdog *watchdog, const struct budget *budget);

#endif
