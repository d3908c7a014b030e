/* acceptor.h -- accepts connections on the listening sockets of one worker.
 *
 * Polls the sockets that listen.c has opened on the worker's loop, and gives each connection to an
 * HTTP server. Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_LISTEN_ACCEPTOR_H
#define TIDEWIRE_NET_LISTEN_ACCEPTOR_H

#include "net/http/http.h"
#include "net/listen/listen.h"

#include <uv.h>

struct acceptor;

/* Takes the sockets of this worker from the set and accepts on them. */
struct acceptor *acceptor_start(uv_loop_t *loop, struct listen_set *set, unsigned worker,
                                struct http_server *http);

/* Stops accepting and closes the sockets. The loop releases the memory when it has closed the
 * handles. Accepts NULL. */
void acceptor_close(struct acceptor *acceptor);

#endif
