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

/* What the system cannot say of a socket. */
struct passed_facts {
    bool for_admin;
    bool any_port;  /* the system chose the port, so "port 0" means this address */
    bool owns_file; /* Tidewire made its socket file and removes it */
};

/* One address and its sockets. */
struct passed_address {
    struct address address;
    struct passed_facts facts;
    bool taken; /* the caller of passed_fds_take() owns `fds` */
    int *fds;
    size_t count;
};

struct passed_fds;

struct passed_fds *passed_fds_new(void);
/* Closes the sockets that were not taken. Accepts NULL. */
void passed_fds_free(struct passed_fds *passed);

/* Takes the descriptor over, and closes it where it is no listening stream socket. Returns NULL, or
 * the reason. */
const char *passed_fds_add(struct passed_fds *passed, int fd, const struct passed_facts *facts);

/* Adds the sockets that systemd has opened for this process: LISTEN_PID, LISTEN_FDS and
 * LISTEN_FDNAMES (sd_listen_fds(3)); the name "admin" stands for the admin address. Removes these
 * variables, so that child processes do not see them. Call it before anything opens descriptors or
 * starts threads. False, with a sentence in `error`, when a descriptor is no listening socket. */
bool passed_fds_from_systemd(struct passed_fds *passed, char *error, size_t error_size);

/* Takes the sockets of this address: the caller owns the descriptors, the struct is borrowed. NULL
 * when there are none, or `passed` is NULL. */
struct passed_address *passed_fds_take(struct passed_fds *passed, const struct address *wanted,
                                       bool for_admin);
/* Takes those of any address. */
struct passed_address *passed_fds_take_any(struct passed_fds *passed, bool for_admin);

/* After the last taking: logs and closes the sockets that are left, and removes the files that
 * Tidewire made. */
void passed_fds_close_rest(struct passed_fds *passed);

#endif
