/* listeners.h -- the sockets that the server listens on, the admin address's among them.
 *
 * Decides which sockets the app gets: those that its addresses name, opened or passed by another
 * process, or all that were passed where it names none. Main thread. */
#ifndef TIDEWIRE_SERVER_LISTEN_LISTENERS_H
#define TIDEWIRE_SERVER_LISTEN_LISTENERS_H

#include "net/listen/listen.h"
#include "script/vm/app.h"

#include <stdbool.h>
#include <stddef.h>

/* All zeros: nothing is open. */
struct listeners {
    struct listen_set **sets; /* for reading: those of the app */
    size_t count;
    struct listen_set *admin; /* for reading; NULL: there is no admin address */
};

/* Opens the sockets of the app and of the admin address, or takes them from `passed`. False, with
 * a sentence in `error`, when one cannot be opened. */
bool listeners_open(struct listeners *listeners, const struct app *app, struct passed_fds *passed,
                    char *error, size_t error_size);
/* The number-th set of all, the admin address's last; NULL: there are not so many. */
struct listen_set *listeners_at(const struct listeners *listeners, size_t number);
/* Was one of the app's sockets passed by another process? */
bool listeners_are_passed(const struct listeners *listeners);

/* The next process has the sockets: their files are not removed at the end. */
void listeners_leave_files(struct listeners *listeners);
/* The process that passed them does not use them any more: their files are removed at the end,
 * where it would have removed them. */
void listeners_own_files(struct listeners *listeners);
/* Warns of each socket file of the app's that is not in its place any more. */
void listeners_check_files(const struct listeners *listeners);

/* Closes the app's sockets and those that no worker has taken, and removes their files. The admin
 * address stays. */
void listeners_close_app(struct listeners *listeners);
/* The admin address's as well. */
void listeners_close(struct listeners *listeners);

#endif
