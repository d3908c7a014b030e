/* passed_fds.h -- listening sockets that another process has opened and passed: systemd, or the
 * process before.
 *
 * Keeps them by address until listen.c finds one that is wanted. Several sockets of one address
 * (SO_REUSEPORT) stay together: connections wait in each, so each must be polled by a worker. Owns
 * the descriptors until they are taken. Does not know how they were passed. Main thread. */
#ifndef TIDEWIRE_NET_LISTEN_PASSED_FDS_H
#define TIDEWIRE_NET_LISTEN_PASSED_FDS_H

#include "net/socket/address.h"

#include <stdbool.h>
#include <stddef.h>

/* What is known of a socket that the system does not tell. */
struct passed_facts {
    bool for_admin;
    bool any_port;  /* the system chose its port: it is what "port 0" means now */
    bool owns_file; /* its socket file is ours to remove */
};

/* One address and its sockets. */
struct passed_address {
    struct address address;
    struct passed_facts facts;
    bool taken; /* `fds` have another owner */
    int *fds;
    size_t count;
};

struct passed_fds;

struct passed_fds *passed_fds_new(void);
/* Closes what was not taken. Accepts NULL. */
void passed_fds_free(struct passed_fds *passed);

/* Owns the descriptor from now on, and closes it where it cannot be used. NULL, or why that is. */
const char *passed_fds_add(struct passed_fds *passed, int fd, const struct passed_facts *facts);

/* Takes the sockets of this address: the descriptors are the caller's, their struct is borrowed.
 * NULL: there are none, or `passed` is NULL. */
struct passed_address *passed_fds_take(struct passed_fds *passed, const struct address *wanted,
                                       bool for_admin);
/* Takes those of any address. */
struct passed_address *passed_fds_take_any(struct passed_fds *passed, bool for_admin);

/* All that is wanted was taken: logs and closes the rest, and removes its files where they are
 * Tidewire's. */
void passed_fds_close_rest(struct passed_fds *passed);

#endif
