/* half_closed.h -- a socket whose client has ended its direction, while something is still to be
 * written to it.
 *
 * The transport's library closes a socket at the end of what the client sends. What is to live on
 * is polled here, on the loop itself, and only written to: there is nothing more to read. Knows no
 * encryption. On the worker's thread. */
#ifndef TIDEWIRE_NET_SOCKET_HALF_CLOSED_H
#define TIDEWIRE_NET_SOCKET_HALF_CLOSED_H

#include <stdbool.h>
#include <uv.h>

struct half_closed;

struct half_closed_events {
    /* After half_closed_want_write(), once: the socket takes bytes again. */
    void (*writable)(void *owner);
    /* The socket is broken: close it. */
    void (*broken)(void *owner);
    /* The end of half_closed_close(): the socket is closed. */
    void (*closed)(void *owner);
};

/* Has the client ended its direction in good order, and is all read that came before? */
bool half_closed_is(int fd);

/* Takes over the socket. NULL: it cannot be polled, and is closed. */
struct half_closed *half_closed_new(uv_loop_t *loop, int fd,
                                    const struct half_closed_events *events, void *owner);
void half_closed_want_write(struct half_closed *half);
/* Closes it; `closed` follows in this turn of the loop. Idempotent. */
void half_closed_close(struct half_closed *half);
/* The same, and `owner` hears nothing any more. */
void half_closed_abandon(struct half_closed *half);

#endif
