/* cosockets.h -- the stream sockets of one worker's scripts, by number.
 *
 * Scripts use them through struct cosocket_functions (core/cosocket/cosocket.h). Everything on the
 * worker's thread. */
#ifndef TIDEWIRE_NET_COSOCKET_COSOCKETS_H
#define TIDEWIRE_NET_COSOCKET_COSOCKETS_H

#include "base/limit.h"
#include "core/bus/stats.h"
#include "core/cosocket/cosocket.h"

#include <uv.h>

struct cosockets;

/* Counts in `stats`; each descriptor takes a unit of the limit. Both are borrowed. */
struct cosockets *cosockets_new(uv_loop_t *loop, struct stats *stats, struct limit *limit);
struct cosocket_functions cosockets_functions(struct cosockets *cosockets);
/* The server stops: sockets can still be used and opened, but each wait has a limit, at which its
 * socket is closed. */
void cosockets_drain(struct cosockets *cosockets);
/* Closes all, and opens no other. The loop must run until it has no handles before
 * cosockets_free(). */
void cosockets_stop(struct cosockets *cosockets);
void cosockets_free(struct cosockets *cosockets); /* accepts NULL */

#endif
