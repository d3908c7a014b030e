/* reload.c -- new code for all workers, or for none. See reload.h.
 *
 * Moved on by the workers' reports: loading -> taking over, or loading -> giving up. What is wanted
 * meanwhile begins when that has ended, once, however often it was wanted. Loading may wait, and
 * without end: after a second it is given up for what is wanted, and after a few it is told. Not at
 * once: whoever saves often still gets some new code. */
#include "server/reload.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/credentials.h"

#include <stdio.h>
#include <string.h>

enum phase { IDLE, LOADING, TAKING_OVER, GIVING_UP };

/* How long loading may take, in milliseconds, before the next one that is wanted replaces it. */
enum { REPLACED_MS = 1000 };

struct waiter {
    struct waiter *next;
    reload_done_fn on_done;
    void *user;
};

struct reload {
    struct crew *crew;
    struct commons *commons;
    void (*on_change)(void *user, bool begins);
    void *user;
    enum phase phase;
    bool allowed, wanted;
    bool forbidden; /* for good */
    char *problems; /* why it is given up */
    uint64_t began_ns;
    uv_timer_t timer; /* while it is loaded */
    bool is_late;     /* it has been loaded for REPLACED_MS */
    void (*on_sources)(void *user, const char *sources);
    void *sources_user;
    struct waiter *waiting; /* for the next one */
    struct waiter *told;    /* for the one that runs */
};

struct reload *reload_new(uv_loop_t *loop, struct crew *crew, struct commons *commons,
                          void (*on_change)(void *user, bool begins), void *user) {
    struct reload *reload = mem_zalloc(sizeof *reload);
    uv_timer_init(loop, &reload->timer);
    reload->timer.data = reload;
    reload->crew = crew;
    reload->commons = commons;
    reload->on_change = on_change;
    reload->user = user;
    return reload;
}

void reload_watch(struct reload *reload, void (*on_sources)(void *user, const char *sources),
                  void *user) {
    reload->on_sources = on_sources;
    reload->sources_user = user;
}

static void tell_sources(struct reload *reload, unsigned worker) {
    const char *sources = crew_sources(reload->crew, worker);
    if (reload->on_sources != NULL && sources != NULL && *sources != '\0')
        reload->on_sources(reload->sources_user, sources);
}

static void tell(struct reload *reload, struct waiter **waiters, const char *problems) {
    for (struct waiter *waiter; (waiter = *waiters) != NULL;) {
        *waiters = waiter->next;
        waiter->on_done(waiter->user, atomic_load(&reload->commons->generation), problems);
        mem_free(waiter);
    }
}

void reload_close(struct reload *reload) {
    uv_close((uv_handle_t *)&reload->timer, NULL);
}

void reload_free(struct reload *reload) {
    tell(reload, &reload->told, "the server has ended");
    tell(reload, &reload->waiting, "the server has ended");
    mem_free(reload->problems);
    mem_free(reload);
}

/* ---- the phases ---- */

static double seconds(const struct reload *reload) {
    return (double)(clock_monotonic_ns() - reload->began_ns) / 1e9;
}

static void give_up(struct reload *reload, const char *why) {
    uv_timer_stop(&reload->timer);
    reload->problems = mem_strdup(why);
    reload->phase = GIVING_UP;
    crew_discard(reload->crew);
}

static void replace(struct reload *reload) {
    char why[96];
    snprintf(why, sizeof why, "it was still being loaded after %.1f seconds, and is replaced",
             seconds(reload));
    give_up(reload, why);
}

static void on_late(uv_timer_t *timer) {
    struct reload *reload = timer->data;
    if (reload->is_late) {
        crew_tell_load(reload->crew, seconds(reload));
        return;
    }
    reload->is_late = true;
    if (reload->wanted)
        replace(reload);
    else
        uv_timer_start(timer, on_late, RELOAD_TOLD_MS - REPLACED_MS, 0);
}

static void begin(struct reload *reload) {
    reload->phase = LOADING;
    reload->wanted = reload->is_late = false;
    uv_timer_start(&reload->timer, on_late, REPLACED_MS, 0);
    reload->on_change(reload->user, true);
    log_eventf(LOG_DEBUG, "reloading", "generation %u is loaded",
               atomic_load(&reload->commons->generation) + 1);
    reload->told = reload->waiting;
    reload->waiting = NULL;
    reload->began_ns = clock_monotonic_ns();
    mem_free(reload->problems);
    reload->problems = NULL;
    crew_reload(reload->crew, atomic_load(&reload->commons->generation) + 1);
}

/* What only a restart changes. */
static void warn_of(const char *name) {
    log_eventf(LOG_WARN, "configuration", "`%s` has changed: restart the program for that", name);
}

static bool same_text(const char *one, const char *other) {
    return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

static bool same_listen(const struct app *one, const struct app *other) {
    bool same = one->listen_count == other->listen_count;
    for (size_t i = 0; same && i < one->listen_count; i++)
        same = strcmp(one->listen[i], other->listen[i]) == 0;
    return same;
}

static void compare(const struct app *old, const struct app *next) {
    if (!same_listen(old, next))
        warn_of("listen");
    if (old->workers != next->workers)
        warn_of("workers");
    if (!same_text(old->admin, next->admin))
        warn_of("admin");
    if (next->max_connections > old->max_connections)
        log_eventf(LOG_WARN, "configuration",
                   "`limits.connections` has grown to %u, but the file descriptors are those for "
                   "%u: restart the program for more",
                   next->max_connections, old->max_connections);
}

static void take_over(struct reload *reload) {
    uv_timer_stop(&reload->timer);
    const struct app *next = crew_next_app(reload->crew, 0);
    for (unsigned i = 1; i < crew_count(reload->crew); i++) {
        if (strcmp(crew_next_app(reload->crew, i)->shape, next->shape) != 0) {
            give_up(reload, app_shapes_differ);
            return;
        }
    }
    char error[CERTIFICATE_ERROR_BYTES];
    if (!credentials_take(reload->commons, next, error, sizeof error)) {
        give_up(reload, error);
        return;
    }
    tell_sources(reload, 0);
    compare(crew_app(reload->crew, 0), next);
    commons_limit(reload->commons, next);
    reload->phase = TAKING_OVER;
    crew_swap(reload->crew);
}

static void taken_over(struct reload *reload) {
    struct commons *commons = reload->commons;
    unsigned generation = atomic_fetch_add(&commons->generation, 1) + 1;
    atomic_fetch_add(&commons->reloads, 1);
    atomic_store(&commons->reload_pause_ns, crew_pause_ns(reload->crew));
    struct log_line line;
    log_begin(&line, LOG_INFO, "reloaded");
    log_int(&line, "generation", generation);
    log_num(&line, "seconds", seconds(reload));
    log_num(&line, "pause_ms", (double)crew_pause_ns(reload->crew) / 1e6);
    log_end(&line);
}

static void given_up(struct reload *reload) {
    atomic_fetch_add(&reload->commons->reload_failures, 1);
    struct log_line line;
    log_begin(&line, LOG_ERROR, "reload_failed");
    log_int(&line, "generation", atomic_load(&reload->commons->generation));
    log_str(&line, "why", reload->problems);
    log_end(&line);
}

static void next(struct reload *reload) {
    reload->phase = IDLE;
    reload->on_change(reload->user, false);
    tell(reload, &reload->told, reload->problems);
    if (reload->wanted && reload->allowed)
        begin(reload);
}

static void see_loading(struct reload *reload) {
    for (unsigned i = 0; i < crew_count(reload->crew); i++) {
        if (crew_reload_stage(reload->crew, i) == RELOAD_FAILED) {
            tell_sources(reload, i);
            give_up(reload, crew_problems(reload->crew, i));
            return;
        }
    }
    if (crew_reload_is(reload->crew, RELOAD_LOADED))
        take_over(reload);
}

void reload_see(struct reload *reload) {
    if (reload->phase == LOADING) {
        see_loading(reload);
    } else if (reload->phase == TAKING_OVER && crew_reload_is(reload->crew, RELOAD_TAKEN)) {
        taken_over(reload);
        next(reload);
    } else if (reload->phase == GIVING_UP && crew_reload_is(reload->crew, RELOAD_NONE)) {
        given_up(reload);
        next(reload);
    }
}

/* ---- wishes ---- */

static const char shutting_down[] = "the server is shutting down";

void reload_want(struct reload *reload, reload_done_fn on_done, void *user) {
    if (reload->forbidden) {
        log_event(LOG_WARN, "reload_failed", shutting_down);
        if (on_done != NULL)
            on_done(user, atomic_load(&reload->commons->generation), shutting_down);
        return;
    }
    reload->wanted = true;
    if (on_done != NULL) {
        struct waiter *waiter = mem_alloc(sizeof *waiter);
        *waiter = (struct waiter){reload->waiting, on_done, user};
        reload->waiting = waiter;
    }
    if (reload->allowed && reload->phase == IDLE)
        begin(reload);
    else if (reload->phase == LOADING && reload->is_late)
        replace(reload);
}

void reload_allow(struct reload *reload) {
    reload->allowed = true;
    if (reload->wanted)
        begin(reload);
}

void reload_forbid(struct reload *reload) {
    reload->allowed = false;
    reload->forbidden = true;
    if (reload->phase == LOADING)
        give_up(reload, shutting_down);
    tell(reload, &reload->waiting, shutting_down);
}
