/* hub_close.h -- how connections close: by the client, by the network, by the server.
 *
 * A connection is OPEN, then CLOSING (its Close frame is queued, or the network ended), then GONE
 * (its socket is closed). It leaves its rooms and the other workers' directory together with OPEN.
 * on_close is due then and runs after all other hooks. The hub closes the socket when one of the
 * times below is over. Only the hub's own files include this header; what sockets and scripts call
 * is in hub.h. hub.c releases the memory. */
#ifndef TIDEWIRE_CORE_HUB_HUB_CLOSE_H
#define TIDEWIRE_CORE_HUB_HUB_CLOSE_H

#include "core/hub/hub.h"

/* The longest times of a closing connection: for writing its queue; for the client's Close frame
 * after the server's; for the client to end the TCP connection after both frames. */
enum { CLOSE_FLUSH_MS = 5000, CLOSE_ACK_MS = 3000, CLOSE_LINGER_MS = 1000 };

/* The server closes the connection, if it is open; `drop` discards the queued messages. */
void hub_close_begin(struct hub *hub, struct conn *conn, unsigned code, struct slice reason,
                     bool drop);
/* The same where a script asks for it: the reason is its own text. */
void hub_close_by_script(struct hub *hub, struct conn *conn, unsigned code, struct slice reason);
/* The same for a client that broke a rule: the hub expects nothing more from it. */
void hub_close_fail(struct hub *hub, struct conn *conn, unsigned code, struct slice reason);
/* A connection on which no hook runs: it gets a Close frame. */
void hub_close_refuse(struct hub *hub, struct conn *conn, unsigned code, struct slice reason);
/* A session that has no socket ends. */
void hub_close_waiting(struct hub *hub, struct conn *conn, unsigned code, struct slice reason);
/* The client is silent: the connection closes, or a session waits without its socket. */
void hub_close_silent(struct hub *hub, struct conn *conn);
/* A closing connection's queue is written. */
void hub_close_written(struct hub *hub, struct conn *conn);

#endif
