/* acceptor.h -- accepting connections on one worker's sockets.
 *
 * Polls on the worker's loop what listen.c has opened, and hands each connection to an HTTP server.
 * Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_LISTEN_ACCEPTOR_H
#define TIDEWIRE_NET_LISTEN_ACCEPTOR_H

#include "net/http/http.h"
#include "net/listen/listen.h"

#include <uv.h>

struct acceptor;

/* Takes this worker's sockets from the set and accepts on them. */
struct acceptor *acceptor_start(uv_loop_t *loop, struct listen_set *set, unsigned worker,
                                struct http_server *http);

/* Stops listening. Memory is released when the loop has closed the handles. Accepts NULL. */
void acceptor_close(struct acceptor *acceptor);

#endif
