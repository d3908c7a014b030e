/* gate.h -- who gets in: between the HTTP of a worker and its hub.
 *
 * Judges handshakes (form, places, then the scripts), opens the accepted ones,
 * and carries plain HTTP to the scripts and back. Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_GATE_H
#define TIDEWIRE_NET_GATE_H

#include "core/hub.h"
#include "net/http.h"
#include "net/transport.h"

struct gate;

/* Gives the hub its wire. */
struct gate *gate_new(uv_loop_t *loop, struct transport *transport, struct hub *hub,
                      const struct http_options *options);
/* As of http_server_close() and http_server_free(). */
void gate_close(struct gate *gate);
void gate_free(struct gate *gate); /* accepts NULL */

/* Other limits, for requests and handshakes from now on. */
void gate_change(struct gate *gate, const struct http_options *options);

struct http_server *gate_http(struct gate *gate);

/* At the end of each turn of the loop, before hub_turn_end(). */
void gate_turn(struct gate *gate);
bool gate_has_pending(const struct gate *gate);

/* New handshakes are answered 503 from now on. */
void gate_drain(struct gate *gate);

#endif
