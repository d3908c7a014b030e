/* listeners.h -- the sockets that the server listens on, those of the admin address too.
 *
 * Decides which sockets the app gets: those of its addresses, opened here or passed by another
 * process, or all passed sockets where it names no address. Main thread. */
#ifndef TIDEWIRE_SERVER_LISTEN_LISTENERS_H
#define TIDEWIRE_SERVER_LISTEN_LISTENERS_H

#include "net/listen/listen.h"
#include "script/vm/app.h"

#include <stdbool.h>
#include <stddef.h>

/* All zeros: nothing is open. */
struct listeners {
    struct listen_set **sets; /* for reading: the sets of the app */
    size_t count;
    struct listen_set *admin; /* for reading; NULL: there is no admin address */
};

/* Opens the sockets of the app and of the admin address, or takes them from `passed`. False, with a
 * sentence in `error`, when a socket cannot be opened. */
bool listeners_open(struct listeners *listeners, const struct app *app, struct passed_fds *passed,
                    char *error, size_t error_size);
/* The set of this number, from 0; the admin address is the last. NULL: there is none. */
struct listen_set *listeners_at(const struct listeners *listeners, size_t number);
/* Was one of the app's sockets passed by another process? */
bool listeners_are_passed(const struct listeners *listeners);

/* The next process owns the files of the sockets: they are not removed at the end. */
void listeners_leave_files(struct listeners *listeners);
/* The process that has passed the sockets no longer uses them: this process removes their files at
 * the end, where that one would have. */
void listeners_own_files(struct listeners *listeners);
/* Warns of each socket file of the app that was removed or replaced. */
void listeners_check_files(const struct listeners *listeners);

/* Closes the app's sockets, also those that no worker has taken, and removes their files. The admin
 * address stays open. */
void listeners_close_app(struct listeners *listeners);
/* Closes those of the admin address as well. */
void listeners_close(struct listeners *listeners);

#endif
