/* ws.h -- WebSocket connections: frames from a stream to the hub, bytes from the hub to the stream.
 *
 * Fills in the hub's `struct wire`. handshake_server.c opens a connection when it has accepted the
 * handshake. Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_WS_WS_H
#define TIDEWIRE_NET_WS_WS_H

#include "core/hub/hub.h"
#include "net/socket/ip_counts.h"
#include "net/socket/transport.h"

/* The WebSocket connections of one worker. */
struct ws_server;

/* Sets the wire of the hub. `half_closed_ms`: how long a client that has ended its direction may
 * take to read what is queued for it. */
struct ws_server *ws_server_new(struct hub *hub, uint64_t half_closed_ms);
void ws_server_change(struct ws_server *server, uint64_t half_closed_ms);
void ws_server_free(struct ws_server *server);

/* Takes over the stream of a handshake that was answered with 101, and the count of its address,
 * and opens the connection. `ahead` are the bytes behind the request; they are changed. */
void ws_open(struct ws_server *server, struct stream *stream, struct conn *conn,
             struct ip_count *address, char *ahead, size_t len);

/* Why a connection is closed as soon as it is open: as of hub_open_refused(). */
struct ws_refusal {
    uint32_t endpoint;
    unsigned code;
    const char *reason; /* UTF-8, at most CLOSE_REASON_MAX bytes */
    size_t reason_len;
};
/* The same as ws_open() for a handshake that is refused by a Close frame. */
void ws_open_refused(struct ws_server *server, struct stream *stream, struct conn *conn,
                     struct ip_count *address, const struct ws_refusal *refusal, char *ahead,
                     size_t len);

/* Resumes connections that are paused no more, and those that have yielded. Call it at the end of
 * each turn of the loop, before hub_turn_end(). */
void ws_server_turn(struct ws_server *server);
/* Has ws_server_turn() anything to resume? Then the loop must not sleep. */
bool ws_server_has_pending(const struct ws_server *server);

#endif
