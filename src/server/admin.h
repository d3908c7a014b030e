/* admin.h -- the admin address, for operators: /healthz, /readyz, /metrics, /stats.
 *
 * It is served in C on the main thread, which runs no script: it works when scripts are broken or
 * do not return. Off unless the app or the command line names an address. */
#ifndef TIDEWIRE_SERVER_ADMIN_H
#define TIDEWIRE_SERVER_ADMIN_H

#include "server/workers/workers.h"

#include <uv.h>

struct admin;

/* Prepares to serve the sockets of `set`, which is borrowed; accepts no connection yet. */
struct admin *admin_open(uv_loop_t *loop, struct process *process, struct workers *workers,
                         struct listen_set *set);
/* Accepts connections from now on. Accepts NULL. */
void admin_start(struct admin *admin);

/* /readyz answers 503 from now on. Accepts NULL. */
void admin_drain(struct admin *admin);

/* Another process accepts on the sockets from now on. Accepts NULL. */
void admin_stop_accepting(struct admin *admin);

/* A worker has reported. Accepts NULL. */
void admin_on_report(struct admin *admin);

/* Stops listening, and closes all connections. The loop must run until their handles are closed
 * before admin_free(). Both accept NULL. */
void admin_close(struct admin *admin);
void admin_free(struct admin *admin);

#endif
