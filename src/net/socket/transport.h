/* transport.h -- accepted sockets: bytes in, bytes out, and the end.
 *
 * The library below it, which only transport.c names, serves each socket in its raw role on the
 * worker's libuv loop: polling, reading, flow control and timeouts are the library's; encryption is
 * tls.c's; what the bytes mean is decided above, in http.c and ws.c. See docs/decisions/framing.md
 * and tls.md. Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_SOCKET_TRANSPORT_H
#define TIDEWIRE_NET_SOCKET_TRANSPORT_H

#include "core/bus/stats.h"
#include "net/socket/certificate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* The sockets of one worker. */
struct transport;
/* One connected socket. */
struct stream;

/* What the owner of a stream is told. After `closed` the stream does not exist. */
struct stream_events {
    /* Bytes, which the owner may change in place; gone after the return. */
    void (*received)(void *owner, char *bytes, size_t len);
    /* After stream_want_write(): the socket takes bytes again. */
    void (*writable)(void *owner);
    /* The client has said that no more comes from it, and all that came was told. True: it is still
     * to be written to, and the owner will end it, by stream_shutdown() or stream_kill(). False: it
     * is closed. */
    bool (*ended)(void *owner);
    /* The socket is closed, whoever wanted it. Not called inside a call of the owner's. */
    void (*closed)(void *owner);
};

/* Counts in `stats`, which is borrowed. NULL when the library cannot start. */
struct transport *transport_new(uv_loop_t *loop, struct stats *stats);
/* Why it cannot: a sentence. */
extern const char transport_cannot_start[];

/* Ends all streams (their owners are told) and begins to take the context down; the loop must run
 * until it is out of handles before transport_free(). */
void transport_stop(struct transport *transport);
void transport_free(struct transport *transport);

/* Takes over a connected, non-blocking socket. With a certificate its client is expected to speak
 * TLS, and all below is of what the encryption carries; a client that begins with a letter instead
 * does not speak it, and is heard in plain. `remote` is its address, for the log; it is copied.
 * NULL when the socket cannot be taken; it is closed then. */
struct stream *stream_adopt(struct transport *transport, int fd, const char *remote,
                            struct certificate *certificate, const struct stream_events *events,
                            void *owner);

/* Is it encrypted? Known from its first bytes on. */
bool stream_is_secure(const struct stream *stream);

/* Hands the stream to another owner. */
void stream_set_owner(struct stream *stream, const struct stream_events *events, void *owner);

/* Writes now; returns how many bytes the socket took. Less than `len`: call stream_want_write(). A
 * broken socket takes nothing, and `closed` follows. */
size_t stream_write(struct stream *stream, const void *bytes, size_t len);

/* `writable` will be called once. */
void stream_want_write(struct stream *stream);

/* Has the socket taken all that stream_write() has? With encryption the end of it may still
 * wait. */
bool stream_is_flushed(const struct stream *stream);

/* Bytes that were written and that the client's end of the connection has not acknowledged yet;
 * about, with encryption. */
size_t stream_waiting_bytes(const struct stream *stream);

/* Reading stops or goes on. What the kernel has buffered stays there. */
void stream_pause(struct stream *stream, bool paused);

/* No more will be written: the peer sees the end after what was sent. Reading goes on; where
 * nothing more comes, the socket is closed. */
void stream_shutdown(struct stream *stream);

/* Closes the socket soon, in the loop's next turn. */
void stream_kill(struct stream *stream);
/* The same, and what the kernel still has for the client is thrown away. */
void stream_reset(struct stream *stream);

/* Milliseconds since the last byte arrived; UINT64_MAX where the system does not tell (Unix
 * sockets). */
uint64_t stream_quiet_ms(const struct stream *stream);

#endif
