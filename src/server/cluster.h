/* cluster.h -- the process's link to other machines: its start and its end.
 *
 * The main thread calls all functions. */
#ifndef TIDEWIRE_SERVER_CLUSTER_H
#define TIDEWIRE_SERVER_CLUSTER_H

#include "base/error_text.h"
#include "base/limit.h"
#include "cluster/link/cluster_link.h"
#include "core/bus/stats.h"
#include "script/vm/app.h"
#include "server/workers/process.h"

#include <uv.h>

/* All zeros: the machine is alone. */
struct cluster {
    struct cluster_link *link; /* NULL: the machine is alone */
    struct cosockets *sockets;
    struct stats stats; /* of the sockets */
    struct limit limit; /* on them */
    uv_async_t changed; /* on the main thread's loop */
    uv_timer_t timer;
    bool is_late;
};

/* Starts the link if the app has the option `cluster`: before the second worker enters the bus.
 * `loop` is the main thread's. */
bool cluster_start(struct cluster *cluster, uv_loop_t *loop, struct process *process,
                   const struct app *app, const struct error_text *error);
/* Runs the loop until each server was reached or was found to be away; some seconds at most, or
 * until is_over(user). */
void cluster_wait(struct cluster *cluster, bool (*is_over)(void *user), void *user);
/* The server drains: the machine leaves the cluster, and still publishes. */
void cluster_leave(struct cluster *cluster);
/* Ends the link, when what was published has gone; some seconds at most, or less in a hurry. All
 * workers must have ended. The loop must run once more. */
void cluster_end(struct cluster *cluster, bool in_hurry);

#endif
