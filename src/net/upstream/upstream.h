/* upstream.h -- one WebSocket connection to another server.
 *
 * Looks up the name, tries the addresses in turn, makes the handshake, reads and writes frames,
 * answers pings and sends its own, keeps messages until the script takes them, and closes. Owned by
 * upstreams.c, which alone includes this header. One worker's thread. */
#ifndef TIDEWIRE_NET_UPSTREAM_UPSTREAM_H
#define TIDEWIRE_NET_UPSTREAM_UPSTREAM_H

#include "base/list.h"
#include "core/bus/stats.h"
#include "core/upstream/upstream.h"
#include "net/upstream/upstream_socket.h"

struct upstream;

/* What the upstreams of a worker have in common. */
struct upstream_shared {
    uv_loop_t *loop;
    struct stats *stats;
    struct upstream_sockets *sockets; /* NULL: none was needed yet */
    struct client_tls_context *tls;
    struct list unwritten; /* upstreams whose bytes are written at the end of the turn */
    uint32_t live;         /* upstreams that have not ended */
};

/* NULL and a sentence when it cannot begin. */
struct upstream *upstream_new(struct upstream_shared *shared,
                              const struct upstream_options *options, const char **why_not);
/* Writes what waits; removes it from `unwritten`. */
void upstream_flush(struct upstream *upstream);
struct upstream *upstream_first_unwritten(struct upstream_shared *shared);

/* See struct upstream_functions. */
void upstream_status(struct upstream *upstream, struct upstream_status *out);
enum upstream_sent upstream_send(struct upstream *upstream, bool binary, struct slice payload);
bool upstream_receive(struct upstream *upstream, bool *binary, struct slice *payload);
void upstream_wait(struct upstream *upstream, enum upstream_event event, upstream_ready_fn on_ready,
                   void *context, uint64_t tag);
void upstream_close(struct upstream *upstream, unsigned code, struct slice reason);
void upstream_release(struct upstream *upstream);

/* The server ends: closes with 1001 and calls the waiting function. */
void upstream_drain(struct upstream *upstream);
/* Cuts it off. */
void upstream_kill(struct upstream *upstream);

#endif
