/* doors.h -- every listening socket of the process, the admin address's but for its own set.
 *
 * Decides which sockets the app gets: those that its addresses name, opened or inherited, or all that were
 * inherited where it names none. Main thread. */
#ifndef TIDEWIRE_SERVER_DOORS_H
#define TIDEWIRE_SERVER_DOORS_H

#include "net/listen.h"
#include "script/app.h"

#include <stdbool.h>
#include <stddef.h>

/* All zeros: nothing is open. */
struct doors {
    struct listen_set **sets; /* for reading */
    size_t count;
};

/* False, with a sentence in `error`, when one cannot be opened. `inheritance` may be NULL. */
bool doors_open(struct doors *doors, const struct app *app, struct inheritance *inheritance,
                char *error, size_t error_size);
bool doors_are_inherited(const struct doors *doors); /* is one? */
/* Another process has them now. */
void doors_leave_files(struct doors *doors);
/* The process they came from is done with them. */
void doors_own_files(struct doors *doors);
/* Warns of each socket file that is not in its place any more. */
void doors_look_at_files(const struct doors *doors);
/* The way in is closed: socket files are gone, and what no worker took. */
void doors_end(struct doors *doors);

#endif
