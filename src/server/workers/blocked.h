/* blocked.h -- turns of a worker's loop that take too long: finding the script's line, the log.
 *
 * While a turn lasts that long, the loop serves no other connection. The watchdog's thread looks at
 * each worker's turn and at the script that runs in it; the worker measures the whole turn. */
#ifndef TIDEWIRE_SERVER_WORKERS_BLOCKED_H
#define TIDEWIRE_SERVER_WORKERS_BLOCKED_H

#include "base/turn.h"
#include "core/bus/refusals.h"
#include "script/vm/observe.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct budget;
struct vm;

/* A turn of so many milliseconds is reported. */
enum { BLOCKED_MS = 250 };

/* What the watchdog knows of one worker's turn. The watchdog's lock protects it. */
struct blocked {
    /* of the worker; `turn` is NULL where its turns are not watched */
    struct turn *turn;
    const struct vm *vm;
    struct budget *budget;
    pthread_t thread;
    clockid_t cpu;
    unsigned worker;
    /* of the turn that was seen last */
    uint64_t began_ms;      /* its name; 0: none was seen */
    uint64_t cpu_before_ns; /* the thread's CPU time when it began, as far as it is known */
    unsigned looks;         /* observations that did not find the line */
    bool is_found, is_logged;
    struct observation observation;
    /* of the last check */
    uint64_t cpu_ns;
};

/* The watchdog's thread: a check of one worker. Returns the milliseconds until the next one;
 * UINT64_MAX: any time will do. */
uint64_t blocked_check(struct blocked *blocked);

/* The worker's thread, in a turn that has taken BLOCKED_MS or more: logs and counts it. */
void blocked_end(struct blocked *blocked, double seconds, struct refusals *counts);

#endif
