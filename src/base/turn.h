/* turn.h -- how long one kind of work may run in a turn of the loop before the other kinds run.
 *
 * Scripts and clients decide the amount of some work: due timers, woken coroutines, waiting hooks,
 * queues to be written. Such work stops when its slice is over and continues in the next turn; the
 * loop reads and writes sockets between. Each turn does at least one piece of it, which may exceed
 * the slice. */
#ifndef TIDEWIRE_BASE_TURN_H
#define TIDEWIRE_BASE_TURN_H

#include <stdint.h>

enum { TURN_SLICE_NS = 5 * 1000 * 1000 };

#endif
