/* client_socket.h -- a connection to a server: bytes out and in, over TLS where that is wanted.
 *
 * For a program that has one connection and polls by itself; opening waits, reading and writing do
 * not. No loop, one thread. The prison of OpenSSL's client side. */
#ifndef TIDEWIRE_NET_CLIENT_CLIENT_SOCKET_H
#define TIDEWIRE_NET_CLIENT_CLIENT_SOCKET_H

#include "net/client/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct outgoing;

/* Connects within so many milliseconds, TLS included. `insecure`: any certificate will do. NULL,
 * with a sentence in `error`, when the server cannot be reached or is not believed. */
struct outgoing *outgoing_open(const struct url *url, bool insecure, int timeout_ms, char *error,
                               size_t error_size);
void outgoing_close(struct outgoing *out); /* accepts NULL */

int outgoing_fd(const struct outgoing *out);
/* What poll() should wait for: POLLIN, and POLLOUT where there is something to write, or TLS wants
 * it. */
short outgoing_events(const struct outgoing *out, bool wants_write);
/* Has it bytes that poll() cannot see? */
bool outgoing_has_pending(const struct outgoing *out);

enum { OUTGOING_LATER = -1, OUTGOING_BROKEN = -2 };
/* How many bytes, 0 at the end of what the server says, or one of the above. */
ssize_t outgoing_read(struct outgoing *out, void *bytes, size_t size);
/* How many bytes were taken, or one of the above. After OUTGOING_LATER the same bytes must come
 * again first. */
ssize_t outgoing_write(struct outgoing *out, const void *bytes, size_t len);

#endif
