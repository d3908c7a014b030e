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

struct client_socket;

/* Connects within so many milliseconds, TLS included. `insecure`: any certificate will do. NULL,
 * with a sentence in `error`, when the server cannot be reached or is not believed. */
struct client_socket *client_socket_open(const struct url *url, bool insecure, int timeout_ms,
                                         char *error, size_t error_size);
void client_socket_close(struct client_socket *out); /* accepts NULL */

int client_socket_fd(const struct client_socket *out);
/* What poll() should wait for: POLLIN, and POLLOUT where there is something to write, or TLS wants
 * it. */
short client_socket_events(const struct client_socket *out, bool wants_write);
/* Has it bytes that poll() cannot see? */
bool client_socket_has_pending(const struct client_socket *out);

enum { CLIENT_SOCKET_LATER = -1, CLIENT_SOCKET_BROKEN = -2 };
/* How many bytes, 0 at the end of what the server says, or one of the above. */
ssize_t client_socket_read(struct client_socket *out, void *bytes, size_t size);
/* How many bytes were taken, or one of the above. After CLIENT_SOCKET_LATER the same bytes must
 * come again first. */
ssize_t client_socket_write(struct client_socket *out, const void *bytes, size_t len);

#endif
