/* inherit.h -- listening sockets that another process has opened: systemd, or the server before us.
 *
 * Keeps them by address until listen.c finds one that is wanted. Several sockets of one address
 * (SO_REUSEPORT) stay together: each has connections waiting, so each must be served by somebody. Owns the
 * descriptors until they are taken. Does not know how they came here. Main thread. */
#ifndef TIDEWIRE_NET_INHERIT_H
#define TIDEWIRE_NET_INHERIT_H

#include "net/address.h"

#include <stdbool.h>
#include <stddef.h>

/* What is said of a socket beside what it tells itself. */
struct inherited_facts {
    bool for_admin;
    bool any_port;  /* the system chose its port: it is what "port 0" means now */
    bool owns_file; /* its socket file is ours to remove */
};

/* One address and its sockets. */
struct inherited {
    struct address address;
    struct inherited_facts facts;
    bool taken; /* `fds` are somebody else's */
    int *fds;
    size_t count;
};

struct inheritance;

struct inheritance *inheritance_new(void);
/* Closes what was not taken. Accepts NULL. */
void inheritance_free(struct inheritance *inheritance);

/* Takes over the descriptor, whatever comes of it. NULL, or why it cannot be used. */
const char *inheritance_add(struct inheritance *inheritance, int fd,
                            const struct inherited_facts *facts);

/* Marks it as taken: its descriptors are the caller's, the rest stays where it is. NULL: there is none. */
struct inherited *inheritance_take(struct inheritance *inheritance, const struct address *wanted,
                                   bool for_admin);
/* The same with any address, for the purpose. */
struct inherited *inheritance_take_any(struct inheritance *inheritance, bool for_admin);

/* All that is wanted was taken: logs and closes what is left, and removes its files if they are ours. */
void inheritance_settle(struct inheritance *inheritance);

#endif
