/* port_owner.h -- which process listens on an address that is in use?
 *
 * For the message of a start that has failed: reads all of /proc. Owns nothing, any thread. */
#ifndef TIDEWIRE_NET_LISTEN_PORT_OWNER_H
#define TIDEWIRE_NET_LISTEN_PORT_OWNER_H

#include "net/socket/address.h"

/* Writes a part of a sentence: "nginx, process 812, listens there: …"; "" where no process is
 * found. */
void port_owner_find(const struct address *address, char *text, size_t size);

#endif
