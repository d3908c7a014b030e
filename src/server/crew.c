/* crew.c -- the workers of the process, each on a thread of its own. See crew.h.
 *
 * Orders are bits of a word, reports are a number: both are told by waking the other's loop, and may be late,
 * but are never lost. Starts the threads of workers; the watchdog has one of its own. */
#include "server/crew.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdatomic.h>

enum order {
    ORDER_STOP_LOAD = 1,
    ORDER_LISTEN = 2,
    ORDER_DRAIN = 4,
    ORDER_KILL = 8,
    ORDER_CLOSE = 16,
    ORDER_RELOAD = 32,
    ORDER_SWAP = 64,
    ORDER_DISCARD = 128,
    ORDER_COUNT = 256,
    ORDER_FAREWELL = 512,
    ORDER_TELL_LOAD = 1024,
};

/* One worker and its thread. */
struct hand {
    struct crew *crew;
    unsigned number;
    uv_thread_t thread;
    _Atomic enum stage stage;
    atomic_uint orders; /* not carried out yet */
    _Atomic enum reload_stage reload;
    _Atomic uint64_t asked_ns; /* since when it owes a sign of life; 0: it does not */
    uv_mutex_t lock;           /* of the next ones */
    bool is_reachable;         /* `bell` may be rung */
    bool has_counted;          /* since it was last told to */
    struct census census;

    /* the worker's thread's, and the main thread's when it has ended */
    struct worker *worker;
    const struct app *app;
    uv_async_t bell;
    bool closing, cut_short;

    /* of a reload: written by the worker before it reports, read by the main thread after that */
    struct app *next; /* loaded; NULL when it has taken over */
    char *problems, *sources;
    uint64_t pause_ns;
};

struct crew {
    struct crew_options options;
    uv_async_t news;
    atomic_int exit_code; /* what a script has called os.exit with, first; -1: none has */
    struct listen_set *const *sets;
    size_t set_count;
    unsigned generation; /* of the code to load */
    double load_seconds; /* set before ORDER_TELL_LOAD is given: how long it has been loaded, */
    unsigned loading;    /* and by how many workers still */
    struct drain_order drain; /* set before ORDER_DRAIN is given */
    bool draining;            /* ORDER_DRAIN was given, ORDER_FAREWELL was not */
    unsigned count;
    struct hand *hands[BUS_MAX_WORKERS];
};

/* ---- the worker's thread ---- */

static void report(struct hand *hand, enum stage stage) {
    atomic_store(&hand->stage, stage);
    uv_async_send(&hand->crew->news);
}

static void on_stopped(void *user) {
    report(user, STAGE_STOPPED);
}

static void on_drained(void *user) {
    report(user, STAGE_DRAINED);
}

static void on_exit_called(void *user, int code) {
    struct crew *crew = user;
    int none = -1;
    if (atomic_compare_exchange_strong(&crew->exit_code, &none, code))
        uv_async_send(&crew->news);
}

static void report_reload(struct hand *hand, enum reload_stage stage) {
    atomic_store(&hand->reload, stage);
    uv_async_send(&hand->crew->news);
}

static void on_loaded(void *user, struct app *app, const char *problems, const char *sources) {
    struct hand *hand = user;
    hand->next = app;
    hand->problems = mem_strdup(problems);
    hand->sources = mem_strdup(sources);
    report_reload(hand, app == NULL ? RELOAD_FAILED : RELOAD_LOADED);
}

static void drop_next(struct hand *hand) {
    app_free(hand->next);
    mem_free(hand->problems);
    mem_free(hand->sources);
    hand->next = NULL;
    hand->problems = hand->sources = NULL;
}

static void swap(struct hand *hand) {
    uint64_t before = clock_monotonic_ns();
    worker_swap(hand->worker, hand->next);
    hand->app = hand->next;
    hand->next = NULL;
    hand->pause_ns = clock_monotonic_ns() - before;
    drop_next(hand);
    report_reload(hand, RELOAD_TAKEN);
}

static void carry_out_reload(struct hand *hand, unsigned orders) {
    const struct crew_options *options = &hand->crew->options;
    if (orders & ORDER_RELOAD)
        worker_reload(hand->worker, options->file, &options->command_line, hand->crew->generation,
                      on_loaded, hand);
    if (orders & ORDER_SWAP)
        swap(hand);
    if (orders & ORDER_DISCARD) {
        worker_discard(hand->worker);
        drop_next(hand);
        report_reload(hand, RELOAD_NONE);
    }
}

static void count(struct hand *hand) {
    struct census census = {0};
    worker_count(hand->worker, &census);
    uv_mutex_lock(&hand->lock);
    hand->census = census;
    hand->has_counted = true;
    uv_mutex_unlock(&hand->lock);
    uv_async_send(&hand->crew->news);
}

static void carry_out(struct hand *hand) {
    unsigned orders = atomic_exchange(&hand->orders, 0);
    struct worker *worker = hand->worker;
    if (orders & ORDER_STOP_LOAD)
        worker_stop_load(worker);
    if (orders & ORDER_LISTEN)
        report(hand, worker_listen(worker, hand->crew->sets, hand->crew->set_count) ? STAGE_SERVING
                                                                                    : STAGE_FAILED);
    carry_out_reload(hand, orders);
    if (orders & ORDER_TELL_LOAD)
        worker_tell_load(worker, hand->crew->load_seconds, hand->crew->loading, hand->crew->count);
    if (orders & ORDER_COUNT)
        count(hand);
    if (orders & ORDER_DRAIN) {
        struct drain_news news = {on_stopped, on_drained, hand};
        worker_drain(worker, &hand->crew->drain, &news);
    }
    if (orders & ORDER_FAREWELL)
        worker_farewell(worker);
    if (orders & ORDER_KILL)
        worker_kill(worker);
    if (orders & ORDER_CLOSE) {
        hand->closing = true;
        uv_stop(worker_loop(worker));
    }
}

static void on_bell(uv_async_t *bell) {
    struct hand *hand = bell->data;
    atomic_store(&hand->asked_ns, 0);
    carry_out(hand);
}

static void set_reachable(struct hand *hand, bool is_reachable) {
    uv_mutex_lock(&hand->lock);
    hand->is_reachable = is_reachable;
    uv_mutex_unlock(&hand->lock);
}

static void open_bell(struct hand *hand) {
    uv_async_init(worker_loop(hand->worker), &hand->bell, on_bell);
    hand->bell.data = hand;
    uv_unref((uv_handle_t *)&hand
                 ->bell); /* while the script loads, only what it waits for keeps the loop */
    set_reachable(hand, true);
    carry_out(hand); /* what was ordered before */
}

static void close_bell(struct hand *hand) {
    set_reachable(hand, false);
    uv_close((uv_handle_t *)&hand->bell, NULL);
}

static void work(struct hand *hand) {
    const struct crew_options *options = &hand->crew->options;
    hand->app = worker_load(hand->worker, options->file, &options->command_line);
    report(hand, hand->app == NULL ? STAGE_FAILED : STAGE_LOADED);
    if (hand->app != NULL) {
        uv_ref((uv_handle_t *)&hand->bell);
        while (!hand->closing)
            uv_run(worker_loop(hand->worker), UV_RUN_DEFAULT);
    }
    worker_close(hand->worker);
    close_bell(hand);
    hand->cut_short = !worker_finish(hand->worker);
}

static void run(void *argument) {
    struct hand *hand = argument;
    log_set_worker((int)hand->number);
    hand->worker = worker_new(hand->number, hand->crew->options.commons);
    if (hand->worker == NULL) {
        report(hand, STAGE_FAILED);
    } else {
        worker_on_exit(hand->worker, on_exit_called, hand->crew);
        open_bell(hand);
        work(hand);
    }
    report(hand, STAGE_ENDED);
}

/* ---- the main thread ---- */

static void ring(struct hand *hand) {
    uv_mutex_lock(&hand->lock);
    if (hand->is_reachable)
        uv_async_send(&hand->bell);
    uv_mutex_unlock(&hand->lock);
}

static void order_one(struct hand *hand, enum order which) {
    atomic_fetch_or(&hand->orders, (unsigned)which);
    ring(hand);
}

static void order(struct crew *crew, enum order which) {
    for (unsigned i = 0; i < crew->count; i++)
        order_one(crew->hands[i], which);
}

static void on_news(uv_async_t *news) {
    struct crew *crew = news->data;
    if (crew->draining && crew_reached(crew, STAGE_STOPPED)) {
        crew->draining = false;
        order(crew, ORDER_FAREWELL);
    }
    crew->options.on_news(crew->options.user);
}

struct crew *crew_new(const struct crew_options *options) {
    struct crew *crew = mem_zalloc(sizeof *crew);
    crew->options = *options;
    atomic_init(&crew->exit_code, -1);
    uv_async_init(options->loop, &crew->news, on_news);
    crew->news.data = crew;
    return crew;
}

bool crew_start(struct crew *crew, unsigned count) {
    while (crew->count < count) {
        struct hand *hand = mem_zalloc(sizeof *hand);
        hand->crew = crew;
        hand->number = crew->count;
        uv_mutex_init(&hand->lock);
        int result = uv_thread_create(&hand->thread, run, hand);
        if (result != 0) {
            log_eventf(LOG_ERROR, "start_failed", "no thread for worker %u: %s", hand->number,
                       uv_strerror(result));
            uv_mutex_destroy(&hand->lock);
            mem_free(hand);
            return false;
        }
        crew->hands[crew->count++] = hand;
    }
    return true;
}

unsigned crew_count(const struct crew *crew) {
    return crew->count;
}

enum stage crew_stage(const struct crew *crew, unsigned worker) {
    return atomic_load(&crew->hands[worker]->stage);
}

bool crew_reached(const struct crew *crew, enum stage stage) {
    for (unsigned i = 0; i < crew->count; i++)
        if (crew_stage(crew, i) < stage)
            return false;
    return true;
}

bool crew_failed(const struct crew *crew) {
    for (unsigned i = 0; i < crew->count; i++)
        if (crew_stage(crew, i) >= STAGE_FAILED)
            return true;
    return false;
}

const struct app *crew_app(const struct crew *crew, unsigned worker) {
    return crew->hands[worker]->app;
}

void crew_stop_load(struct crew *crew) {
    order(crew, ORDER_STOP_LOAD);
}

static bool is_loading(const struct hand *hand) {
    return atomic_load(&hand->stage) == STAGE_LOADING ||
           atomic_load(&hand->reload) == RELOAD_LOADING;
}

void crew_tell_load(struct crew *crew, double seconds) {
    struct hand *first = NULL;
    unsigned loading = 0;
    for (unsigned i = 0; i < crew->count; i++) {
        if (!is_loading(crew->hands[i]))
            continue;
        first = first == NULL ? crew->hands[i] : first;
        loading++;
    }
    if (first == NULL)
        return;
    crew->load_seconds = seconds;
    crew->loading = loading;
    order_one(first, ORDER_TELL_LOAD);
}

void crew_listen(struct crew *crew, struct listen_set *const *sets, size_t set_count) {
    crew->sets = sets;
    crew->set_count = set_count;
    order(crew, ORDER_LISTEN);
}

void crew_reload(struct crew *crew, unsigned generation) {
    crew->generation = generation;
    for (unsigned i = 0; i < crew->count; i++)
        atomic_store(&crew->hands[i]->reload, RELOAD_LOADING);
    order(crew, ORDER_RELOAD);
}

void crew_swap(struct crew *crew) {
    order(crew, ORDER_SWAP);
}

void crew_discard(struct crew *crew) {
    order(crew, ORDER_DISCARD);
}

enum reload_stage crew_reload_stage(const struct crew *crew, unsigned worker) {
    return atomic_load(&crew->hands[worker]->reload);
}

bool crew_reload_is(const struct crew *crew, enum reload_stage stage) {
    for (unsigned i = 0; i < crew->count; i++)
        if (crew_reload_stage(crew, i) != stage)
            return false;
    return true;
}

const struct app *crew_next_app(const struct crew *crew, unsigned worker) {
    return crew->hands[worker]->next;
}

const char *crew_problems(const struct crew *crew, unsigned worker) {
    return crew->hands[worker]->problems;
}

const char *crew_sources(const struct crew *crew, unsigned worker) {
    return crew->hands[worker]->sources;
}

uint64_t crew_pause_ns(const struct crew *crew) {
    uint64_t longest = 0;
    for (unsigned i = 0; i < crew->count; i++)
        if (crew->hands[i]->pause_ns > longest)
            longest = crew->hands[i]->pause_ns;
    return longest;
}

void crew_drain(struct crew *crew, const struct drain_order *how) {
    crew->drain = *how;
    crew->draining = true;
    order(crew, ORDER_DRAIN);
}

void crew_kill(struct crew *crew) {
    order(crew, ORDER_KILL);
}

void crew_close(struct crew *crew) {
    order(crew, ORDER_CLOSE);
}

void crew_count_generations(struct crew *crew) {
    for (unsigned i = 0; i < crew->count; i++) {
        uv_mutex_lock(&crew->hands[i]->lock);
        crew->hands[i]->has_counted = false;
        uv_mutex_unlock(&crew->hands[i]->lock);
    }
    order(crew, ORDER_COUNT);
}

bool crew_census(struct crew *crew, struct census *census) {
    bool all = true;
    *census = (struct census){0};
    for (unsigned i = 0; i < crew->count; i++) {
        struct hand *hand = crew->hands[i];
        uv_mutex_lock(&hand->lock);
        if (hand->has_counted)
            census_add(census, &hand->census);
        all = all && hand->has_counted;
        uv_mutex_unlock(&hand->lock);
    }
    return all;
}

double crew_silence(struct crew *crew, unsigned *worker) {
    uint64_t now = clock_monotonic_ns(), longest = 0;
    *worker = 0;
    for (unsigned i = 0; i < crew->count; i++) {
        struct hand *hand = crew->hands[i];
        uint64_t asked = 0;
        if (atomic_compare_exchange_strong(&hand->asked_ns, &asked, now)) {
            ring(hand);
        } else if (now - asked > longest) {
            longest = now - asked;
            *worker = i;
        }
    }
    return (double)longest / 1e9;
}

int crew_exit_code(const struct crew *crew) {
    return atomic_load(&crew->exit_code);
}

bool crew_cut_short(const struct crew *crew) {
    for (unsigned i = 0; i < crew->count; i++)
        if (crew->hands[i]->cut_short)
            return true;
    return false;
}

void crew_stop(struct crew *crew) {
    for (unsigned i = 0; i < crew->count; i++)
        uv_thread_join(&crew->hands[i]->thread);
    uv_close((uv_handle_t *)&crew->news, NULL);
}

bool crew_free(struct crew *crew) {
    bool clean = true;
    if (crew == NULL)
        return true;
    for (unsigned i = 0; i < crew->count; i++) {
        struct hand *hand = crew->hands[i];
        drop_next(hand);
        clean = worker_free(hand->worker) && clean;
        uv_mutex_destroy(&hand->lock);
        mem_free(hand);
    }
    mem_free(crew);
    return clean;
}
