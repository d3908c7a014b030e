/* handoff.h -- connections that one worker passes to another: a queue for each worker's HTTP
 * server.
 *
 * A client that returns to its session may reach any worker. The session stays, and the connection
 * goes to its worker with the request that was read, before a script sees it; see
 * docs/decisions/sessions.md. A connection on its way belongs to no thread. Any thread; only
 * net/http uses it. */
#ifndef TIDEWIRE_NET_HTTP_HANDOFF_H
#define TIDEWIRE_NET_HTTP_HANDOFF_H

#include "net/socket/transport.h"

#include <stdbool.h>
#include <uv.h>

struct http;
struct handoffs;

/* A connection on its way. */
struct handoff {
    struct handoff *next;
    struct http *http;
    struct stream_socket socket;
};

struct handoffs *handoffs_new(void);
/* When every queue is closed. Accepts NULL. */
void handoffs_free(struct handoffs *handoffs);

/* Opens the queue of a worker. `wake` is called by uv_async_send(), and stays open until the queue
 * is closed. */
void handoffs_open(struct handoffs *handoffs, unsigned worker, uv_async_t *wake);
/* Closes it. Returns what is left, as handoffs_take(). */
struct handoff *handoffs_close(struct handoffs *handoffs, unsigned worker);

/* Asks for a place in the queue of a worker. True: handoffs_end() follows at once, because the
 * queue is locked until then. False: the queue is full, or closed. */
bool handoffs_begin(struct handoffs *handoffs, unsigned worker);
/* Takes over the handoff, and wakes the worker. NULL: nothing is passed. */
void handoffs_end(struct handoffs *handoffs, unsigned worker, struct handoff *handoff);

/* All connections of the queue, oldest first, or NULL. The caller frees each handoff. */
struct handoff *handoffs_take(struct handoffs *handoffs, unsigned worker);

#endif
