/* handshake_server.h -- accepts or refuses the WebSocket handshakes of one worker.
 *
 * Stands between the worker's HTTP server, which reads the requests, and its hub. A handshake needs
 * the right form, room in the hub, and the consent of the scripts; it becomes a connection (ws.h).
 * Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_WS_HANDSHAKE_SERVER_H
#define TIDEWIRE_NET_WS_HANDSHAKE_SERVER_H

#include "core/hub/hub.h"
#include "net/http/http.h"

struct handshake_server;

/* Becomes the handler of the handshakes of `http` and sets the wire of the hub; borrows both.
 * `half_closed_ms`: as of ws_server_new(). */
struct handshake_server *handshake_server_new(struct http_server *http, struct hub *hub,
                                              uint64_t half_closed_ms);
/* When all streams are closed. Accepts NULL. */
void handshake_server_free(struct handshake_server *server);

/* Another limit, for connections from now on. */
void handshake_server_change(struct handshake_server *server, uint64_t half_closed_ms);

/* Call it at the end of each turn of the loop, before hub_turn_end(). */
void handshake_server_turn(struct handshake_server *server);
/* Has handshake_server_turn() work? Then the loop must not sleep. */
bool handshake_server_has_pending(const struct handshake_server *server);

/* Answers new handshakes with 503 from now on. */
void handshake_server_drain(struct handshake_server *server);

#endif
