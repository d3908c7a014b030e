/* transport.h -- connected sockets: bytes in, bytes out, and their end.
 *
 * Polls the sockets on the worker's libuv loop, reads and writes them. tls.c encrypts; http.c and
 * ws.c give the bytes a meaning. See docs/decisions/framing.md and tls.md. Everything on the
 * worker's thread. */
#ifndef TIDEWIRE_NET_SOCKET_TRANSPORT_H
#define TIDEWIRE_NET_SOCKET_TRANSPORT_H

#include "core/bus/stats.h"
#include "net/socket/tls_server.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* The sockets of one worker. */
struct transport;
/* One connected socket. */
struct stream;

/* Calls to the owner of a stream. After `closed` the stream does not exist. */
struct stream_events {
    /* Bytes from the client. The owner may change them in place; they are valid until the return.
     */
    void (*received)(void *owner, char *bytes, size_t len);
    /* After stream_want_write(): the socket takes bytes again. */
    void (*writable)(void *owner);
    /* The client has ended its direction, and the owner has received all bytes before that. True:
     * the owner still writes, and will call stream_shutdown() or stream_kill(). False: the socket
     * is closed. */
    bool (*ended)(void *owner);
    /* The socket is closed, by either side. Never called inside a call of the owner. After a reset
     * by the client, or another fault of the connection, the owner has received all bytes that had
     * arrived before. */
    void (*closed)(void *owner);
    /* The connection is broken, and the stream is paused: it is closed when the owner has gone on
     * and has received what had arrived. Once. NULL for an owner that never pauses. */
    void (*broken)(void *owner);
};

/* Counts in `stats`, which is borrowed. */
struct transport *transport_new(uv_loop_t *loop, struct stats *stats);

/* Closes all streams (their owners get `closed`). The loop must run until it has no handles before
 * transport_free(). */
void transport_stop(struct transport *transport);
void transport_free(struct transport *transport); /* accepts NULL */

/* Takes over a connected, non-blocking socket. With `tls` its stream speaks TLS, and the
 * functions below are about the decrypted bytes. But a client whose first byte is a letter does not
 * speak TLS: its stream is not encrypted. `remote` is its address, for the log; it is copied. NULL:
 * the loop cannot poll the socket, which is closed. */
struct stream *stream_adopt(struct transport *transport, int fd, const char *remote,
                            struct tls_server *tls, const struct stream_events *events,
                            void *owner);

/* A connected socket without a transport: on its way to another worker. */
struct stream_socket {
    int fd;
    struct tls *tls; /* NULL: not encrypted */
    char *remote;    /* with TLS */
};

/* Takes the socket away from its stream, which does not exist any more and calls nothing. For use
 * in `received` too, and outside calls of the stream. False: the stream closes, and goes on to. */
bool stream_release(struct stream *stream, struct stream_socket *socket);
/* As stream_adopt(), on another worker: goes on with the socket, and with its TLS. */
struct stream *stream_adopt_released(struct transport *transport,
                                     const struct stream_socket *socket,
                                     const struct stream_events *events, void *owner);
/* Closes a socket that no transport adopts. */
void stream_socket_close(const struct stream_socket *socket);

/* For use in `received`, of a stream without TLS: the bytes so far came from a proxy, and its
 * client `remote` begins here, with TLS where `tls` is not NULL. The rest of the bytes
 * received is passed to `received`, decrypted. Then the owner may not exist any more. */
void stream_begin_client(struct stream *stream, struct tls_server *tls, const char *remote,
                         char *rest, size_t len);

/* Is it encrypted? Known from its first byte on. */
bool stream_is_secure(const struct stream *stream);

/* What is known of the encryption: valid as long as the stream. NULL: not encrypted. */
const struct tls_facts *stream_tls(const struct stream *stream);

/* The reason for which its TLS handshake was refused, for counts: "client_certificate",
 * "server_name", or "tls_handshake" for all others. NULL: it was not. */
const char *stream_tls_refusal(const struct stream *stream);

/* Gives the stream another owner. If the client has ended its direction, `ended` is called for the
 * new owner too, later. */
void stream_set_owner(struct stream *stream, const struct stream_events *events, void *owner);

/* Writes now. Returns how many bytes the socket took; when less than `len`, call
 * stream_want_write(). A broken socket takes and drops all, until `closed` follows. */
size_t stream_write(struct stream *stream, const void *bytes, size_t len);

/* Asks for one call of `writable`. */
void stream_want_write(struct stream *stream);

/* Has the socket taken all bytes of stream_write()? TLS may still keep their end. */
bool stream_is_flushed(const struct stream *stream);

/* Have bytes arrived that were not read? */
bool stream_has_input(const struct stream *stream);

/* Has the client ended its direction, or the connection? Bytes before that may still be unread. */
bool stream_has_end(const struct stream *stream);

/* Bytes that were written and that the client's system has not acknowledged; with TLS, about. */
size_t stream_unacked_bytes(const struct stream *stream);

/* Stops reading or goes on: `received` and `ended` are not called while it is paused. The kernel
 * keeps what arrives meanwhile. */
void stream_pause(struct stream *stream, bool paused);

/* Ends our direction: the client sees the end behind the bytes that were written. Reading goes on;
 * where the client has ended its direction too, the socket is closed. */
void stream_shutdown(struct stream *stream);

/* Closes the socket soon: where many are to be closed, each turn of the loop closes some. */
void stream_kill(struct stream *stream);
/* The same with a reset: the kernel drops what it still has for the client. */
void stream_reset(struct stream *stream);

/* Milliseconds since the last byte arrived; UINT64_MAX where the system does not know (Unix
 * sockets). */
uint64_t stream_quiet_ms(const struct stream *stream);

#endif
