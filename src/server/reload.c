/* reload.c -- a reload: new code for all workers, or for none. See reload.h.
 *
 * The workers' reports move it on: load, then activate or discard. All requests that come meanwhile
 * cause one further reload when it has ended. A load may wait for ever: it is logged after
 * RELOAD_SLOW_MS, and from REPLACED_MS on a request discards it. Not at once, so that a user who
 * saves often gets new code as well. */
#include "server/reload.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "server/credentials.h"

#include <stdio.h>
#include <string.h>

enum reload_phase {
    NOT_ALLOWED,  /* the workers do not serve yet: requests wait */
    IDLE,         /* no reload is under way */
    LOADING,      /* every worker loads the next code */
    LOADING_LATE, /* the same for more than REPLACED_MS: a request discards it */
    ACTIVATING,   /* every worker activates it */
    DISCARDING,   /* every worker discards it */
};

/* How long a load may take before the next request discards it, in milliseconds. */
enum { REPLACED_MS = 1000 };

struct reload_request {
    struct reload_request *next;
    reload_done_fn on_done;
    void *user;
};

struct reload {
    struct workers *workers;
    struct process *process;
    void (*on_change)(void *user, bool begins);
    void *user;
    enum reload_phase phase;
    bool requested; /* another reload */
    bool forbidden; /* no reload may begin any more */
    char *problems; /* why the code was discarded; NULL: it was not */
    uint64_t began_ns;
    uv_timer_t timer; /* of the phases of loading */
    void (*on_sources)(void *user, const char *sources);
    void *sources_user;
    struct reload_request *waiting; /* for the next reload */
    struct reload_request *running; /* for the reload that is under way */
};

struct reload *reload_new(uv_loop_t *loop, struct workers *workers, struct process *process,
                          void (*on_change)(void *user, bool begins), void *user) {
    struct reload *reload = mem_zalloc(sizeof *reload);
    uv_timer_init(loop, &reload->timer);
    reload->timer.data = reload;
    reload->workers = workers;
    reload->process = process;
    reload->on_change = on_change;
    reload->user = user;
    return reload;
}

void reload_watch(struct reload *reload, void (*on_sources)(void *user, const char *sources),
                  void *user) {
    reload->on_sources = on_sources;
    reload->sources_user = user;
}

static void report_sources(struct reload *reload, unsigned worker) {
    const char *sources = workers_reload(reload->workers, worker)->sources;
    if (reload->on_sources != NULL && sources != NULL && *sources != '\0')
        reload->on_sources(reload->sources_user, sources);
}

static void end_requests(struct reload *reload, struct reload_request **requests,
                         const char *problems) {
    for (struct reload_request *request; (request = *requests) != NULL;) {
        *requests = request->next;
        request->on_done(request->user, atomic_load(&reload->process->generation), problems);
        mem_free(request);
    }
}

void reload_close(struct reload *reload) {
    uv_close((uv_handle_t *)&reload->timer, NULL);
}

void reload_free(struct reload *reload) {
    end_requests(reload, &reload->running, "the server has ended");
    end_requests(reload, &reload->waiting, "the server has ended");
    mem_free(reload->problems);
    mem_free(reload);
}

/* ---- the phases ---- */

static double seconds(const struct reload *reload) {
    return (double)(clock_monotonic_ns() - reload->began_ns) / 1e9;
}

static void discard(struct reload *reload, const char *why) {
    uv_timer_stop(&reload->timer);
    reload->problems = mem_strdup(why);
    reload->phase = DISCARDING;
    workers_command(reload->workers, WORKER_DISCARD);
}

static void replace(struct reload *reload) {
    char why[96];
    snprintf(why, sizeof why, "it was still loading after %.1f seconds, and is replaced",
             seconds(reload));
    discard(reload, why);
}

static void on_late(uv_timer_t *timer) {
    struct reload *reload = timer->data;
    if (reload->phase == LOADING_LATE) {
        workers_log_slow_load(reload->workers, seconds(reload));
        return;
    }
    reload->phase = LOADING_LATE;
    if (reload->requested)
        replace(reload);
    else
        uv_timer_start(timer, on_late, RELOAD_SLOW_MS - REPLACED_MS, 0);
}

static void begin(struct reload *reload) {
    reload->phase = LOADING;
    reload->requested = false;
    uv_timer_start(&reload->timer, on_late, REPLACED_MS, 0);
    reload->on_change(reload->user, true);
    log_eventf(LOG_DEBUG, "reloading", "generation %u is loaded",
               atomic_load(&reload->process->generation) + 1);
    reload->running = reload->waiting;
    reload->waiting = NULL;
    reload->began_ns = clock_monotonic_ns();
    mem_free(reload->problems);
    reload->problems = NULL;
    workers_load(reload->workers, atomic_load(&reload->process->generation) + 1);
}

/* Warns that only a restart changes this option. */
static void warn_of(const char *name) {
    log_eventf(LOG_WARN, "configuration", "`%s` has changed: restart the program for that", name);
}

static bool same_text(const char *one, const char *other) {
    return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

static bool same_listen(const struct app *one, const struct app *other) {
    bool same = one->listen.count == other->listen.count;
    for (size_t i = 0; same && i < one->listen.count; i++)
        same = strcmp(one->listen.at[i], other->listen.at[i]) == 0;
    return same;
}

/* Warns of changed options that need a restart. */
static void compare(const struct app *old, const struct app *next) {
    if (!same_listen(old, next))
        warn_of("listen");
    if (old->workers != next->workers)
        warn_of("workers");
    if (!same_text(old->admin, next->admin))
        warn_of("admin");
    if (!same_text(old->state, next->state))
        warn_of("state");
    if (!app_cluster_equal(&old->cluster, &next->cluster))
        warn_of("cluster");
    if (next->max_connections > old->max_connections)
        log_eventf(LOG_WARN, "configuration",
                   "`limits.connections` has grown to %u, but the file descriptors are those for "
                   "%u: restart the program for more",
                   next->max_connections, old->max_connections);
}

static void activate(struct reload *reload) {
    uv_timer_stop(&reload->timer);
    const struct app *next = workers_reload(reload->workers, 0)->app;
    for (unsigned i = 1; i < workers_count(reload->workers); i++) {
        if (strcmp(workers_reload(reload->workers, i)->app->shape, next->shape) != 0) {
            discard(reload, app_shapes_differ);
            return;
        }
    }
    char error[CREDENTIALS_ERROR_BYTES];
    if (!credentials_activate(reload->process, next, error, sizeof error)) {
        discard(reload, error);
        return;
    }
    report_sources(reload, 0);
    compare(workers_app(reload->workers, 0), next);
    process_set_limits(reload->process, next);
    reload->phase = ACTIVATING;
    workers_command(reload->workers, WORKER_ACTIVATE);
}

static void log_activated(struct reload *reload) {
    struct process *process = reload->process;
    unsigned generation = atomic_fetch_add(&process->generation, 1) + 1;
    atomic_fetch_add(&process->reloads, 1);
    atomic_store(&process->reload_pause_ns, workers_pause_ns(reload->workers));
    struct log_line line;
    log_begin(&line, LOG_INFO, "reloaded");
    log_int(&line, "generation", generation);
    log_num(&line, "seconds", seconds(reload));
    log_num(&line, "pause_ms", (double)workers_pause_ns(reload->workers) / 1e6);
    uint64_t closed = workers_codec_closed(reload->workers);
    if (closed > 0) {
        log_int(&line, "closed", closed);
        log_str(&line, "why", "codec changed");
    }
    log_end(&line);
}

static void log_discarded(struct reload *reload) {
    atomic_fetch_add(&reload->process->reload_failures, 1);
    struct log_line line;
    log_begin(&line, LOG_ERROR, "reload_failed");
    log_int(&line, "generation", atomic_load(&reload->process->generation));
    log_str(&line, "why", reload->problems);
    log_end(&line);
}

static void end(struct reload *reload) {
    reload->phase = IDLE;
    reload->on_change(reload->user, false);
    end_requests(reload, &reload->running, reload->problems);
    if (reload->requested && !reload->forbidden)
        begin(reload);
}

static void on_load_report(struct reload *reload) {
    for (unsigned i = 0; i < workers_count(reload->workers); i++) {
        const struct reload_result *result = workers_reload(reload->workers, i);
        if (result->stage == RELOAD_FAILED) {
            report_sources(reload, i);
            discard(reload, result->problems);
            return;
        }
    }
    if (workers_reload_is(reload->workers, RELOAD_LOADED))
        activate(reload);
}

void reload_on_report(struct reload *reload) {
    if (reload->phase == LOADING || reload->phase == LOADING_LATE) {
        on_load_report(reload);
    } else if (reload->phase == ACTIVATING &&
               workers_reload_is(reload->workers, RELOAD_ACTIVATED)) {
        log_activated(reload);
        end(reload);
    } else if (reload->phase == DISCARDING && workers_reload_is(reload->workers, RELOAD_NONE)) {
        log_discarded(reload);
        end(reload);
    }
}

/* ---- requests ---- */

static const char shutting_down[] = "the server is shutting down";

void reload_request(struct reload *reload, reload_done_fn on_done, void *user) {
    if (reload->forbidden) {
        log_event(LOG_WARN, "reload_failed", shutting_down);
        if (on_done != NULL)
            on_done(user, atomic_load(&reload->process->generation), shutting_down);
        return;
    }
    reload->requested = true;
    if (on_done != NULL) {
        struct reload_request *request = mem_alloc(sizeof *request);
        *request = (struct reload_request){reload->waiting, on_done, user};
        reload->waiting = request;
    }
    if (reload->phase == IDLE)
        begin(reload);
    else if (reload->phase == LOADING_LATE)
        replace(reload);
}

void reload_allow(struct reload *reload) {
    reload->phase = IDLE;
    if (reload->requested && !reload->forbidden)
        begin(reload);
}

void reload_forbid(struct reload *reload) {
    reload->forbidden = true;
    if (reload->phase == LOADING || reload->phase == LOADING_LATE)
        discard(reload, shutting_down);
    end_requests(reload, &reload->waiting, shutting_down);
}
