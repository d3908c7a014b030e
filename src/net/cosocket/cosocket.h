/* cosocket.h -- one stream socket of a script.
 *
 * Polls its descriptor on the worker's loop for as long as a task waits; reads and writes when the
 * script asks. Owned by cosockets.c, which alone includes this header. One worker's thread. */
#ifndef TIDEWIRE_NET_COSOCKET_COSOCKET_H
#define TIDEWIRE_NET_COSOCKET_COSOCKET_H

#include "base/deadlines.h"
#include "base/limit.h"
#include "core/bus/stats.h"
#include "core/cosocket/cosocket.h"
#include "net/socket/client_tls.h"

#include <uv.h>

struct cosocket;

/* What the cosockets of a worker have in common. */
struct cosocket_shared {
    uv_loop_t *loop;
    struct stats *stats;
    struct limit *limit;        /* on descriptors; each takes a unit */
    struct deadlines deadlines; /* of those that wait */
    bool draining;              /* the server stops: each wait has a limit, DRAIN_WAIT_MS */
    uv_timer_t timer;           /* for the first deadline */
    uint64_t timer_ms;          /* when it fires; 0: it does not */
    struct client_tls_context *tls;
    char *bytes;   /* of one read; made when first needed */
    char *plain;   /* the same, decrypted */
    char why[300]; /* the last failure of TLS */
};

/* Is it open and was not used for so long, and does no task wait? Once after each use. Closes one
 * whose peer has ended long ago. */
bool cosocket_is_idle(struct cosocket *socket, uint64_t ms);
/* DONE: it is connected and idle: the peer has sent nothing, and no task waits. CLOSED, BUSY. */
int cosocket_check_idle(struct cosocket *socket);
/* How often it was taken from the pool. */
uint32_t *cosocket_times(struct cosocket *socket);

struct cosocket *cosocket_new(struct cosocket_shared *shared);
void cosocket_free(struct cosocket *socket); /* closes it */

/* See struct cosocket_functions. */
int cosocket_open(struct cosocket *socket, enum cosocket_family family);
int cosocket_descriptor(const struct cosocket *socket);
int cosocket_bind(struct cosocket *socket, const struct cosocket_address *address);
int cosocket_connect(struct cosocket *socket, const struct cosocket_address *address);
int cosocket_connected(struct cosocket *socket);
int cosocket_send(struct cosocket *socket, struct slice bytes, size_t *sent);
struct slice cosocket_peek(const struct cosocket *socket);
void cosocket_drop(struct cosocket *socket, size_t len);
int cosocket_fill(struct cosocket *socket);
bool cosocket_wait(struct cosocket *socket, enum cosocket_side side, uint64_t timeout_ms,
                   cosocket_ready_fn on_ready, void *context, uint64_t tag);
bool cosocket_is_ready(const struct cosocket *socket, enum cosocket_side side);
int cosocket_begin_tls(struct cosocket *socket, const struct cosocket_tls *options);
int cosocket_shake_hands(struct cosocket *socket);
const struct tls *cosocket_tls_of(const struct cosocket *socket);
int cosocket_shutdown(struct cosocket *socket, unsigned sides);
struct cosocket_counts cosocket_counts(const struct cosocket *socket);
void cosocket_set_counts(struct cosocket *socket, const struct cosocket_counts *counts);
void cosocket_close(struct cosocket *socket);

/* The server stops: limits the waits of this one. */
void cosocket_drain(struct cosocket *socket);

#endif
