/* crew.h -- the workers of the process, each on a thread of its own.
 *
 * The main thread gives orders, which a worker carries out between two events of its loop; a worker reports
 * what has become of them. Everything here is called by the main thread; `on_news` comes on its loop. */
#ifndef TIDEWIRE_SERVER_CREW_H
#define TIDEWIRE_SERVER_CREW_H

#include "server/worker.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct crew;

/* What a worker is at, in the order of its life. */
enum stage {
    STAGE_LOADING,
    STAGE_LOADED,
    STAGE_SERVING,
    STAGE_STOPPED, /* told to drain: the app's on_stop has ended */
    STAGE_DRAINED, /* every connection is gone */
    STAGE_FAILED,  /* it could not load or serve, which was logged or printed */
    STAGE_ENDED,   /* its thread does nothing more */
};

struct crew_options {
    uv_loop_t *loop; /* the main thread's */
    struct commons *commons;
    const char *file;
    struct vm_command_line command_line; /* borrowed */
    void (*on_news)(void *user);         /* some worker has reached another stage */
    void *user;
};

struct crew *crew_new(const struct crew_options *options);

/* Starts workers until there are `count`; they begin to load at once. False: a thread could not be started. */
bool crew_start(struct crew *crew, unsigned count);
unsigned crew_count(const struct crew *crew);
enum stage crew_stage(const struct crew *crew, unsigned worker);
/* Has every worker come to this stage or beyond? */
bool crew_reached(const struct crew *crew, enum stage stage);
bool crew_failed(const struct crew *crew); /* has one? */
/* What a worker has loaded; from STAGE_LOADED on, until crew_free(). */
const struct app *crew_app(const struct crew *crew, unsigned worker);

/* What a worker is at with new code. */
enum reload_stage { RELOAD_NONE, RELOAD_LOADING, RELOAD_LOADED, RELOAD_FAILED, RELOAD_TAKEN };

enum reload_stage crew_reload_stage(const struct crew *crew, unsigned worker);
bool crew_reload_is(const struct crew *crew, enum reload_stage stage); /* of every worker */
/* What a worker has loaded (RELOAD_LOADED), or why it could not (RELOAD_FAILED): lines. Until the next order. */
const struct app *crew_next_app(const struct crew *crew, unsigned worker);
const char *crew_problems(const struct crew *crew, unsigned worker);
/* The script files that it has asked for, one a line. */
const char *crew_sources(const struct crew *crew, unsigned worker);
/* The longest that a worker stood still for the last crew_swap(). From RELOAD_TAKEN on. */
uint64_t crew_pause_ns(const struct crew *crew);

/* What a script has called os.exit with, the first of all; -1: none has. */
int crew_exit_code(const struct crew *crew);

/* ---- orders, to all ---- */

/* Whoever loads and waits gives up. */
void crew_stop_load(struct crew *crew);
/* The app has been loaded for so long: the first worker that still does says so in the log, and
 * where it waits. */
void crew_tell_load(struct crew *crew, double seconds);
/* Accept on these. They are read until STAGE_SERVING. */
void crew_listen(struct crew *crew, struct listen_set *const *sets, size_t set_count);
/* Load the app anew: RELOAD_LOADED or RELOAD_FAILED follows. Then let it take over (RELOAD_TAKEN follows), or give
 * it up, at any time before (RELOAD_NONE follows). */
void crew_reload(struct crew *crew, unsigned generation);
void crew_swap(struct crew *crew);
void crew_discard(struct crew *crew);
/* Let nobody in, and run on_stop. Clients are told to go when the last on_stop has ended: a worker without much to
 * stop does not send those away to whom another one still speaks. */
void crew_drain(struct crew *crew, const struct drain_order *how);
void crew_kill(struct crew *crew);
/* End, in good order. STAGE_ENDED follows, unless a script does not return. */
void crew_close(struct crew *crew);

/* Asks every worker for a sign of life, and answers for how many seconds the one that owes it longest has not
 * given it; `*worker` is which. An idle one gives it at once, one whose script does not return never. */
double crew_silence(struct crew *crew, unsigned *worker);

/* Lets every worker count: each has something to report then. */
void crew_count_generations(struct crew *crew);
/* What they have counted, all together. False: one has not, and is left out. */
bool crew_census(struct crew *crew, struct census *census);

/* Did a worker leave a request of luv's that does not end? Then its memory may still be used, and the process
 * must end without crew_free(). From STAGE_ENDED on. */
bool crew_cut_short(const struct crew *crew);

/* Closes the crew's own handle; the main loop must run once more before crew_free(). Every worker must have
 * ended. */
void crew_stop(struct crew *crew);
/* False: a worker has left handles on its loop. Accepts NULL. */
bool crew_free(struct crew *crew);

#endif
