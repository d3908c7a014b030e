/* upstream_socket.h -- connected sockets to other servers: bytes out, bytes in, and their end.
 *
 * upstream_socket.c names libwebsockets, which connects, polls and reads, in the client of its raw
 * role on the worker's libuv loop; it parses nothing that a server sends. tls.c encrypts.
 * See docs/decisions/websocket_client.md. Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_UPSTREAM_UPSTREAM_SOCKET_H
#define TIDEWIRE_NET_UPSTREAM_UPSTREAM_SOCKET_H

#include "net/socket/client_tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <uv.h>

/* The sockets of one worker. */
struct upstream_sockets;
struct upstream_socket;

/* Sockets of one worker at most. */
enum { UPSTREAM_SOCKETS_MAX = 1000 };

/* Calls to the owner of a socket. After `closed` the socket does not exist. */
struct upstream_socket_events {
    void (*opened)(void *owner); /* TLS included */
    /* Bytes of the server. The owner may change them in place; valid until the return. */
    void (*received)(void *owner, char *bytes, size_t len);
    void (*writable)(void *owner); /* after upstream_socket_want_write() */
    /* It is closed, or could not be opened: `why` is a sentence about that, or "". */
    void (*closed)(void *owner, const char *why);
};

/* NULL and a sentence when the library cannot start. */
struct upstream_sockets *upstream_sockets_new(uv_loop_t *loop, const char **why_not);
/* Closes all sockets; their owners get `closed`. The loop must run until it has no handles before
 * upstream_sockets_free(). */
void upstream_sockets_stop(struct upstream_sockets *sockets);
void upstream_sockets_free(struct upstream_sockets *sockets); /* accepts NULL */

/* Begins to connect. `tls` is borrowed until `closed`; NULL: none. NULL and a sentence when that
 * fails at once; otherwise the owner gets `opened` or `closed` from the loop. */
struct upstream_socket *upstream_socket_connect(struct upstream_sockets *sockets,
                                                const struct sockaddr *address, socklen_t len,
                                                struct client_tls *tls,
                                                const struct upstream_socket_events *events,
                                                void *owner, const char **why_not);

/* Writes now. Returns how many bytes the socket took. Less than `len`: call
 * upstream_socket_want_write(), and then write from the first byte that was not taken. A broken
 * socket takes all. */
size_t upstream_socket_write(struct upstream_socket *socket, const void *bytes, size_t len);
void upstream_socket_want_write(struct upstream_socket *socket);
/* Stops reading or goes on. */
void upstream_socket_pause(struct upstream_socket *socket, bool paused);
/* Closes it in the next turn of the loop; the owner gets only `closed`. */
void upstream_socket_kill(struct upstream_socket *socket);

#endif
