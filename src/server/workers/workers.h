/* workers.h -- all workers of the process, each on a thread of its own.
 *
 * The main thread gives orders to all, and looks at the stages that the workers report. It calls
 * everything here; `on_report` comes on its loop. */
#ifndef TIDEWIRE_SERVER_WORKERS_WORKERS_H
#define TIDEWIRE_SERVER_WORKERS_WORKERS_H

#include "server/workers/worker_thread.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct workers;

struct workers_options {
    uv_loop_t *loop; /* the main thread's */
    struct process *process;
    const char *file;
    struct vm_command_line command_line; /* borrowed */
    void (*on_report)(void *user);       /* some worker has something new to see */
    void *user;
};

struct workers *workers_new(const struct workers_options *options);

/* Starts workers until there are `count`; they begin to load at once. False: a thread could not
 * be started. */
bool workers_start(struct workers *workers, unsigned count);
unsigned workers_count(const struct workers *workers);
/* Has every worker come to this stage or beyond? */
bool workers_reached(const struct workers *workers, enum worker_stage stage);
bool workers_failed(const struct workers *workers); /* has one failed, or ended? */
/* The app that a worker runs; from STAGE_LOADED on, until workers_free(). */
const struct app *workers_app(const struct workers *workers, unsigned worker);

bool workers_reload_is(const struct workers *workers,
                       enum reload_stage stage); /* of every worker */
/* Until the next order. */
const struct reload_result *workers_reload(const struct workers *workers, unsigned worker);
/* The longest that a worker stood still for the last WORKER_ACTIVATE. From RELOAD_ACTIVATED on. */
uint64_t workers_pause_ns(const struct workers *workers);
/* How many connections of all workers were closed, as their codec is of another kind in the code
 * that was activated. From RELOAD_ACTIVATED on. */
uint64_t workers_codec_closed(const struct workers *workers);

/* The first code that a script has called os.exit with; -1: none has. */
int workers_exit_code(const struct workers *workers);

/* ---- orders, to all ---- */

/* One without arguments: of the others each has a function below. */
void workers_command(struct workers *workers, enum worker_command order);
/* The app has been loaded for so long: the first worker that still loads it logs that, and where
 * it waits. */
void workers_log_slow_load(struct workers *workers, double seconds);
/* Accept on these. They are read until STAGE_SERVING. */
void workers_listen(struct workers *workers, struct listen_set *const *sets, size_t set_count);
void workers_load(struct workers *workers, unsigned generation);
/* Admit no client, and run on_stop. Clients are sent 1001 when the last on_stop has ended: a
 * worker whose on_stop is short does not close connections to which another one still sends. */
void workers_drain(struct workers *workers, const struct worker_drain_options *how);

/* Pings every worker. Returns the age of the oldest ping that is not answered, in seconds;
 * `*worker` is which owes the answer. An idle worker answers at once, one whose script does not
 * return never. */
double workers_ping(struct workers *workers, unsigned *worker);

/* Lets every worker count: each reports that. */
void workers_start_count(struct workers *workers);
/* The sum of what they have counted. False: one has not, and is left out. */
bool workers_counts(struct workers *workers, struct generation_counts *counts);

/* Did a worker leave a request of luv's that does not end? Then its memory may still be used,
 * and the process must end without workers_free(). From STAGE_ENDED on. */
bool workers_cut_short(const struct workers *workers);

/* Joins the threads, and closes its own handle; the main loop must run once more before
 * workers_free(). Every worker must have ended. */
void workers_join(struct workers *workers);
/* False: a worker has left handles on its loop. Accepts NULL. */
bool workers_free(struct workers *workers);

#endif
