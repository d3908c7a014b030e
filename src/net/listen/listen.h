/* listen.h -- opening the sockets that an address stands for, once for all workers.
 *
 * The main thread opens them, so that an address that cannot be used is told once, before anyone
 * accepts. For TCP each worker has a socket of its own (SO_REUSEPORT: the kernel spreads the
 * connections); a Unix socket is one for all, and so is a TCP socket where there is one worker.
 * Where another process has passed sockets of the address, these are used, however many they are:
 * a worker polls several, or several poll one. Listens where it was told to and nowhere else. The
 * sockets themselves are kept until the end, so that they can be passed on; a worker takes
 * duplicates. Accepting is acceptor.c's. */
#ifndef TIDEWIRE_NET_LISTEN_LISTEN_H
#define TIDEWIRE_NET_LISTEN_LISTEN_H

#include "net/listen/passed_fds.h"
#include "net/socket/address.h"

#include <stddef.h>

struct listen_set;

struct listen_options {
    bool for_admin; /* logged as "for=admin" */
    unsigned workers;
    struct passed_fds *passed; /* what others have opened; or NULL */
};

/* Listens on every socket that `text` stands for and logs each address ("event=listening"). NULL
 * with a sentence in `error` when one of them cannot be opened. */
struct listen_set *listen_open(const char *text, const struct listen_options *how, char *error,
                               size_t error_size);
/* The same with an address that was taken from `passed`. */
struct listen_set *listen_adopt(const struct passed_address *passed,
                                const struct listen_options *how, char *error, size_t error_size);

/* Takes the descriptors of one worker. The caller closes them, and frees the array with
 * mem_free(). */
size_t listen_take_fds(struct listen_set *set, unsigned worker, int **fds);

/* One address of the set, to be passed on: false where there is no such number. The descriptors
 * stay the set's. */
bool listen_get_fds(const struct listen_set *set, size_t number, const int **fds, size_t *count,
                    struct passed_facts *facts);
/* Was one of its sockets passed? */
bool listen_is_passed(const struct listen_set *set);

/* They were passed on: socket files are not removed at the end. */
void listen_leave_files(struct listen_set *set);
/* The process that passed them does not use them any more: socket files of passed sockets are
 * removed at the end, where it would have removed them. */
void listen_own_files(struct listen_set *set);
/* Warns of each file of its own that is not in its place any more. */
void listen_check_files(const struct listen_set *set);

/* The number-th address of the set, as address_format() writes it. False: there are not so many. */
bool listen_address(const struct listen_set *set, size_t number, char *text, size_t size);

/* Closes the set's sockets and removes socket files: nobody finds the way any more. Accepts
 * NULL. */
void listen_close(struct listen_set *set);

#endif
