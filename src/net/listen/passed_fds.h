/* passed_fds.h -- listening sockets that another process has opened and passed: systemd's socket
 * activation, or the previous process of an upgrade.
 *
 * Keeps the sockets by address until listen.c takes them. Several sockets of one address
 * (SO_REUSEPORT) stay together: connections wait in the queue of each, so workers must poll all of
 * them. Owns the descriptors until they are taken. Reads systemd's variables; the protocol of an
 * upgrade is server/upgrade's. Main thread. */
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

/* Adds the sockets that systemd has opened for this process: LISTEN_PID, LISTEN_FDS and
 * LISTEN_FDNAMES (sd_listen_fds(3)); the name "admin" stands for the admin address. Removes these
 * variables, so that child processes do not see them. Call it before anything opens descriptors or
 * starts threads. False, with a sentence in `error`, when a descriptor is no listening socket. */
bool passed_fds_from_systemd(struct passed_fds *passed, char *error, size_t error_size);

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
