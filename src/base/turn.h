/* turn.h -- how long one kind of work may go on in a turn of the loop, before all others have
 * theirs.
 *
 * Work whose amount is decided by scripts or clients (timers that are due, coroutines that were
 * woken, hooks that wait) stops when its slice is over, and goes on in the next turn: sockets are
 * read and written between. At least one piece of it is done in each turn, so a slice may be
 * exceeded by that one. */
#ifndef TIDEWIRE_BASE_TURN_H
#define TIDEWIRE_BASE_TURN_H

#include <stdint.h>

enum { TURN_SLICE_NS = 5 * 1000 * 1000 };

#endif
