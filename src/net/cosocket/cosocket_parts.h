/* cosocket_parts.h -- one stream socket of a script. Private to cosocket*.c.
 *
 * cosocket.c has its descriptor, its addresses and its waiters, cosocket_bytes.c its bytes and its
 * TLS. */
#ifndef TIDEWIRE_NET_COSOCKET_COSOCKET_PARTS_H
#define TIDEWIRE_NET_COSOCKET_COSOCKET_PARTS_H

#include "base/buffer.h"
#include "net/cosocket/cosocket.h"
#include "net/socket/tls.h"

/* A descriptor on the loop. It outlives its socket until libuv has closed it. */
struct cosocket_poll {
    uv_poll_t handle;
    struct cosocket *socket;
};

struct cosocket_waiter {
    cosocket_ready_fn on_ready; /* NULL: none */
    void *context;
    uint64_t tag;
    uint64_t due_ms; /* UINT64_MAX: never */
    bool is_last;    /* the server stops: the socket is closed at that time */
};

struct cosocket {
    struct cosocket_shared *shared;
    struct cosocket_poll *poll;  /* NULL: it has not waited yet */
    int fd;                      /* -1: none */
    uint8_t polled;              /* the events that the poll reports; 0: it is stopped */
    bool connecting;             /* it has begun, and has not ended */
    bool ended;                  /* the peer has ended its direction */
    bool used;                   /* it was read or written since it was ready last */
    struct tls *tls;             /* NULL: not encrypted */
    struct client_tls *settings; /* of TLS; NULL: none */
    struct buffer in;
    struct cosocket_waiter waiters[COSOCKET_SIDES];
    struct deadline deadline; /* no later than the first waiter's */
    uint64_t received, sent;
    uint64_t used_ms; /* when bytes last passed, or it was opened; loop time */
    bool was_idle;    /* cosocket_is_idle() has said so since */
    uint32_t times;   /* how often it was taken from the pool */
    uint64_t made_ms;
};

static inline void cosocket_used(struct cosocket *socket) {
    socket->used_ms = uv_now(socket->shared->loop);
    socket->was_idle = false;
}

/* ---- cosocket.c ---- */

/* Polls for what is waited for. False: the loop cannot poll it. */
bool cosocket_watch(struct cosocket *socket);

/* ---- cosocket_bytes.c ---- */

/* Does TLS keep bytes that the socket did not take? */
bool cosocket_has_unsent(const struct cosocket *socket);
/* Ends TLS, where there is any. */
void cosocket_end_tls(struct cosocket *socket);

#endif
