/* workers.h -- all workers of the process, each on a thread of its own.
 *
 * The main thread gives commands to all workers, and reads the stages that they report. It calls
 * all functions here; `on_report` is called on its loop. */
#ifndef TIDEWIRE_SERVER_WORKERS_WORKERS_H
#define TIDEWIRE_SERVER_WORKERS_WORKERS_H

#include "server/workers/worker_thread.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct workers;

/* `loop` is the main thread's. Borrows process, file and settings. `on_report`: a worker has
 * reported something. */
struct workers *workers_new(uv_loop_t *loop, struct process *process, const char *file,
                            const struct settings *settings, void (*on_report)(void *user),
                            void *user);

/* Starts workers until there are `count`; each begins to load at once. False: a thread could not be
 * started, which was logged. */
bool workers_start(struct workers *workers, unsigned count);
unsigned workers_count(const struct workers *workers);
/* Has every worker reached this stage? */
bool workers_reached(const struct workers *workers, enum worker_stage stage);
bool workers_failed(const struct workers *workers); /* has a worker failed, or ended? */
/* The app that a worker runs; from STAGE_LOADED on, until workers_free(). */
const struct app *workers_app(const struct workers *workers, unsigned worker);

/* Is the reload of every worker in this stage? */
bool workers_reload_is(const struct workers *workers, enum reload_stage stage);
/* Valid until the next command. */
const struct reload_result *workers_reload(const struct workers *workers, unsigned worker);
/* The longest time for which the last WORKER_ACTIVATE has blocked a worker. From RELOAD_ACTIVATED
 * on. */
uint64_t workers_pause_ns(const struct workers *workers);
/* How many connections of all workers were closed because the activated code gives them another
 * kind of codec. From RELOAD_ACTIVATED on. */
uint64_t workers_codec_closed(const struct workers *workers);

/* The first code that a script has called os.exit with; -1: none has. */
int workers_exit_code(const struct workers *workers);

/* ---- commands to all workers ---- */

/* A command without arguments. Those with arguments have a function each. */
void workers_command(struct workers *workers, enum worker_command command);
/* The load has taken so long: the first worker that still loads logs that, and where its script
 * waits. */
void workers_log_slow_load(struct workers *workers, double seconds);
/* Accepts on these sets, which are read until STAGE_SERVING. */
void workers_listen(struct workers *workers, struct listen_set *const *sets, size_t set_count);
void workers_load(struct workers *workers, unsigned generation);
/* Admits no client, and runs on_stop. Clients are sent 1001 when the last worker's on_stop has
 * ended: a short on_stop closes no connections to which another worker still sends. */
void workers_drain(struct workers *workers, const struct worker_drain_options *options);

/* Pings every worker. Returns the age of the oldest unanswered ping, in seconds; `*worker` is the
 * worker that has not answered it. An idle worker answers at once; a worker whose script does not
 * return does not answer. */
double workers_ping(struct workers *workers, unsigned *worker);

/* Every worker counts, and reports when it has. */
void workers_start_count(struct workers *workers);
/* The sum of the workers' counts. False: a worker has not counted yet, and is left out. */
bool workers_counts(struct workers *workers, struct generation_counts *counts);

/* ---- the state that outlives the process ---- */

/* Asks one worker to take or to save its part. */
void workers_begin_state(struct workers *workers, unsigned worker, enum state_step step);
/* Has the worker done it? */
bool workers_state_is_done(const struct workers *workers, unsigned worker);
/* After STATE_STEP_DETACH of all workers: have all done it, and no session has a hook that runs? */
bool workers_sessions_rest(const struct workers *workers);
/* Withdraws the request. False: the worker has begun, and will be done. */
bool workers_withdraw_state(struct workers *workers, unsigned worker);

/* Has worker_finish() failed in a worker? Then its memory may still be used, and the process must
 * end without workers_free(). From STAGE_ENDED on. */
bool workers_cut_short(const struct workers *workers);

/* Joins the threads; every worker must have ended. The main loop must run once more before
 * workers_free(). */
void workers_join(struct workers *workers);
/* False: the loop of a worker has handles left. Accepts NULL. */
bool workers_free(struct workers *workers);

#endif
