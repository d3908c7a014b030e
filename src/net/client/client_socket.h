/* client_socket.h -- a connection to a server: bytes out and in, with or without TLS.
 *
 * For a program with one connection that polls by itself: opening blocks, reading and writing do
 * not. No loop, one thread. The only file that uses the client's side of OpenSSL. */
#ifndef TIDEWIRE_NET_CLIENT_CLIENT_SOCKET_H
#define TIDEWIRE_NET_CLIENT_CLIENT_SOCKET_H

#include "net/client/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct client_socket;

/* Connects within `timeout_ms`, TLS included. `insecure` accepts any certificate. NULL, with a
 * sentence in `error`, when the server cannot be reached or its certificate is not trusted. */
struct client_socket *client_socket_open(const struct url *url, bool insecure, int timeout_ms,
                                         char *error, size_t error_size);
void client_socket_close(struct client_socket *client); /* accepts NULL */

int client_socket_fd(const struct client_socket *client);
/* The events for poll(): POLLIN, and POLLOUT when the caller or TLS wants to write. */
short client_socket_events(const struct client_socket *client, bool wants_write);
/* Has it bytes that poll() cannot see? */
bool client_socket_has_pending(const struct client_socket *client);

enum { CLIENT_SOCKET_LATER = -1, CLIENT_SOCKET_BROKEN = -2 };
/* Returns the number of bytes, 0 when the server has ended its direction, or one of the above. */
ssize_t client_socket_read(struct client_socket *client, void *bytes, size_t size);
/* Returns the number of bytes taken, or one of the above. After CLIENT_SOCKET_LATER the caller must
 * repeat the call with the same bytes. */
ssize_t client_socket_write(struct client_socket *client, const void *bytes, size_t len);

#endif
