/* half_closed.h -- a socket whose client has ended its direction, and that is still written to.
 *
 * libwebsockets closes a socket when the client ends its direction. This one is polled on the loop
 * itself, and only written to: it has nothing more to read. Knows no encryption. On the worker's
 * thread. */
#ifndef TIDEWIRE_NET_SOCKET_HALF_CLOSED_H
#define TIDEWIRE_NET_SOCKET_HALF_CLOSED_H

#include <stdbool.h>
#include <uv.h>

struct half_closed;

struct half_closed_events {
    /* After half_closed_want_write(), once: the socket takes bytes again. */
    void (*writable)(void *owner);
    /* The socket is broken: the owner calls half_closed_close(). */
    void (*broken)(void *owner);
    /* The end of half_closed_close(): the socket is closed. */
    void (*closed)(void *owner);
};

/* Has the client ended its direction with a FIN, and are all bytes before that read? */
bool half_closed_is(int fd);

/* Takes the descriptor over. NULL: it cannot be polled, and is closed. */
struct half_closed *half_closed_new(uv_loop_t *loop, int fd,
                                    const struct half_closed_events *events, void *owner);
void half_closed_want_write(struct half_closed *half);
/* Closes it; `closed` follows in this turn of the loop. Idempotent. */
void half_closed_close(struct half_closed *half);
/* The same without any further call to the owner. */
void half_closed_abandon(struct half_closed *half);

#endif
