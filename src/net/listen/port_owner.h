/* port_owner.h -- which process listens on an address that cannot be had?
 *
 * Looks through /proc, so it is for the message of a start that has failed anyway. Owns nothing,
 * any thread. */
#ifndef TIDEWIRE_NET_LISTEN_PORT_OWNER_H
#define TIDEWIRE_NET_LISTEN_PORT_OWNER_H

#include "net/socket/address.h"

/* Writes who it is as a part of a sentence, "nginx, process 812, listens there: …"; "" where that
 * cannot be told. */
void port_owner_find(const struct address *address, char *text, size_t size);

#endif
