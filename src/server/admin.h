/* admin.h -- the operator's address: /healthz, /readyz, /metrics, /stats.
 *
 * Answered in C on the main thread, which runs no script: it speaks when scripts are broken, and
 * when they do not return. Off unless the app or the command line names an address. */
#ifndef TIDEWIRE_SERVER_ADMIN_H
#define TIDEWIRE_SERVER_ADMIN_H

#include "server/workers/workers.h"

#include <stddef.h>
#include <uv.h>

struct admin;

/* With the sockets of `set`, which is borrowed. NULL with a sentence in `error` when it cannot be.
 * Nobody is answered yet. */
struct admin *admin_open(uv_loop_t *loop, struct process *process, struct workers *workers,
                         struct listen_set *set, char *error, size_t error_size);
/* Answers from now on. Accepts NULL. */
void admin_start(struct admin *admin);

/* /readyz answers 503 from now on. Accepts NULL. */
void admin_drain(struct admin *admin);

/* Another process accepts on the sockets from now on. NULL is allowed. */
void admin_stop_accepting(struct admin *admin);

/* A worker has something to report. Accepts NULL. */
void admin_on_report(struct admin *admin);

/* Stops listening, ends what is open. The loop must run until its handles are closed before
 * admin_free(). Both accept NULL. */
void admin_close(struct admin *admin);
void admin_free(struct admin *admin);

#endif
