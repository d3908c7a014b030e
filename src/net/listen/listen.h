/* listen.h -- opens the listening sockets of an address, for all workers.
 *
 * The main thread opens them before any worker accepts, so an address that cannot be used is one
 * error. For TCP each worker has a socket of its own (SO_REUSEPORT: the kernel spreads the
 * connections). All workers share one Unix socket, and a single worker needs one TCP socket.
 * Sockets of the address that another process has passed are used first, however many they are: one
 * worker polls several, or several workers poll one. Opens nothing else. The set keeps its sockets
 * until listen_close(), so that they can be passed on; workers get duplicates. acceptor.c accepts.
 */
#ifndef TIDEWIRE_NET_LISTEN_LISTEN_H
#define TIDEWIRE_NET_LISTEN_LISTEN_H

#include "net/listen/passed_fds.h"
#include "net/socket/address.h"

#include <stddef.h>

struct listen_set;

struct listen_options {
    bool for_admin; /* logged as "for=admin" */
    unsigned workers;
    struct passed_fds *passed; /* sockets of another process, or NULL */
    /* Writes which process has an address that is in use, a part of a sentence, or "". NULL: the
     * error does not say it. */
    void (*find_owner)(const char *address, char *text, size_t size);
};

/* Listens on all addresses that `text` stands for and logs each (event "listening"). NULL, with a
 * sentence in `error`, when one of them cannot be opened. */
struct listen_set *listen_open(const char *text, const struct listen_options *options, char *error,
                               size_t error_size);
/* The same for an address that was taken from passed_fds.h. */
struct listen_set *listen_adopt(const struct passed_address *passed,
                                const struct listen_options *options, char *error,
                                size_t error_size);

/* Takes the descriptors of one worker. The caller closes them, and frees the array with
 * mem_free(). */
size_t listen_take_fds(struct listen_set *set, unsigned worker, int **fds);

/* The sockets of one address of the set and their facts, to pass them on; the descriptors stay the
 * set's. False: the set has not so many addresses. */
bool listen_get_fds(const struct listen_set *set, size_t number, const int **fds, size_t *count,
                    struct passed_facts *facts);
/* Did another process pass one of its sockets? */
bool listen_is_passed(const struct listen_set *set);

/* The next process has the sockets: listen_close() keeps their files. */
void listen_leave_files(struct listen_set *set);
/* The process that passed sockets uses them no more: listen_close() removes those files that that
 * process would have removed. */
void listen_own_files(struct listen_set *set);
/* Warns of each socket file of the set that is missing or replaced. */
void listen_check_files(const struct listen_set *set);

/* The number-th address of the set, as address_format() writes it. False: the set has not so
 * many. */
bool listen_address(const struct listen_set *set, size_t number, char *text, size_t size);

/* Closes the set's sockets and removes the socket files that it owns. Accepts NULL. */
void listen_close(struct listen_set *set);

#endif
