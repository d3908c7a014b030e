/* ws.h -- one WebSocket connection: frames from its stream to the hub, bytes from the hub to its
 * stream.
 *
 * Fills the hub's `struct wire`. Created by handshake_server.c when a handshake was accepted.
 * Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_WS_WS_H
#define TIDEWIRE_NET_WS_WS_H

#include "core/hub/hub.h"
#include "net/socket/ip_counts.h"
#include "net/socket/transport.h"

/* What the WebSocket connections of one worker share. */
struct ws_server;

/* Gives the hub its wire. `half_closed_ms`: how long a client that has ended its direction may take
 * for what is queued to it. */
struct ws_server *ws_server_new(struct hub *hub, uint64_t half_closed_ms);
void ws_server_change(struct ws_server *server, uint64_t half_closed_ms);
void ws_server_free(struct ws_server *server);

/* Takes over the stream of a handshake that is answered with 101 and its place in the count of its
 * address, and opens its connection. `ahead` are bytes that came behind the request; they may be
 * changed. */
void ws_open(struct ws_server *server, struct stream *stream, struct conn *conn,
             struct ip_count *address, char *ahead, size_t len);

/* The same for a handshake that is answered with 101 only to be closed with this code: as of
 * hub_open_refused(). */
struct ws_refusal {
    uint32_t endpoint;
    unsigned code;
    const char *reason; /* UTF-8, at most CLOSE_REASON_MAX bytes */
    size_t reason_len;
};
void ws_refuse(struct ws_server *server, struct stream *stream, struct conn *conn,
               struct ip_count *address, const struct ws_refusal *refusal, char *ahead, size_t len);

/* Goes on with connections whose reading was allowed again. Call it at the end of the loop's turn,
 * before hub_turn_end(). */
void ws_server_turn(struct ws_server *server);
/* Something waits for ws_server_turn(): the loop must not sleep. */
bool ws_server_has_pending(const struct ws_server *server);

#endif
