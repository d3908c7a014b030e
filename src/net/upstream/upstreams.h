/* upstreams.h -- the WebSocket connections of one worker to other servers, by number.
 *
 * Scripts open them through struct upstream_functions (core/upstream/upstream.h). libwebsockets'
 * context is made when the first one is opened. Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_UPSTREAM_UPSTREAMS_H
#define TIDEWIRE_NET_UPSTREAM_UPSTREAMS_H

#include "core/bus/stats.h"
#include "core/upstream/upstream.h"

#include <uv.h>

struct upstreams;

/* Counts in `stats`, which is borrowed. */
struct upstreams *upstreams_new(uv_loop_t *loop, struct stats *stats);
struct upstream_functions upstreams_functions(struct upstreams *upstreams);

/* At the end of a turn: writes what scripts have sent. */
void upstreams_turn(struct upstreams *upstreams);
/* Closes all with 1001, and opens no other. */
void upstreams_drain(struct upstreams *upstreams);
/* Is a connection left, or a part of one? */
bool upstreams_are_left(const struct upstreams *upstreams);
/* Cuts all off, and opens no other. The loop must run until it has no handles before
 * upstreams_free(). */
void upstreams_stop(struct upstreams *upstreams);
void upstreams_free(struct upstreams *upstreams); /* accepts NULL */

#endif
