/* transport.h -- bytes of a connection of the load generator, over TCP or, with options.tls, over
 * TLS. Certificates are not verified. */
#ifndef TIDEWIRE_BENCH_TRANSPORT_H
#define TIDEWIRE_BENCH_TRANSPORT_H

#include "clients.h"

#include <sys/types.h>

/* Begins TLS on a connected socket that blocks. */
void transport_open(struct client *client);

/* Closes the socket, without TLS's own end. */
void transport_close(struct client *client);

/* As send(2) and recv(2): -1 and EAGAIN where the socket must wait. */
ssize_t transport_send(struct client *client, const void *bytes, size_t size);
ssize_t transport_receive(struct client *client, void *bytes, size_t size);

#endif
