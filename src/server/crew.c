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
};

/* One worker and its thread. */
struct hand {
    struct crew *crew;
    unsigned number;
    uv_thread_t thread;
    _Atomic enum stage stage;
    atomic_uint orders;        /* not carried out yet */
    _Atomic uint64_t asked_ns; /* since when it owes a sign of life; 0: it does not */
    uv_mutex_t lock;           /* of `is_reachable` */
    bool is_reachable;         /* `bell` may be rung */

    /* the worker's thread's, and the main thread's when it has ended */
    struct worker *worker;
    const struct app *app;
    uv_async_t bell;
    bool closing, cut_short;
};

struct crew {
    struct crew_options options;
    uv_async_t news;
    struct listen_set *const *sets;
    size_t set_count;
    unsigned count;
    struct hand *hands[BUS_MAX_WORKERS];
};

/* ---- the worker's thread ---- */

static void report(struct hand *hand, enum stage stage) {
    atomic_store(&hand->stage, stage);
    uv_async_send(&hand->crew->news);
}

static void on_drained(void *user) {
    report(user, STAGE_DRAINED);
}

static void carry_out(struct hand *hand) {
    unsigned orders = atomic_exchange(&hand->orders, 0);
    struct worker *worker = hand->worker;
    if (orders & ORDER_STOP_LOAD)
        worker_stop_load(worker);
    if (orders & ORDER_LISTEN)
        report(hand, worker_listen(worker, hand->crew->sets, hand->crew->set_count) ? STAGE_SERVING
                                                                                    : STAGE_FAILED);
    if (orders & ORDER_DRAIN)
        worker_drain(worker, on_drained, hand);
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
        open_bell(hand);
        work(hand);
    }
    report(hand, STAGE_ENDED);
}

/* ---- the main thread ---- */

static void on_news(uv_async_t *news) {
    const struct crew *crew = news->data;
    crew->options.on_news(crew->options.user);
}

struct crew *crew_new(const struct crew_options *options) {
    struct crew *crew = mem_zalloc(sizeof *crew);
    crew->options = *options;
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

static void ring(struct hand *hand) {
    uv_mutex_lock(&hand->lock);
    if (hand->is_reachable)
        uv_async_send(&hand->bell);
    uv_mutex_unlock(&hand->lock);
}

static void order(struct crew *crew, enum order which) {
    for (unsigned i = 0; i < crew->count; i++) {
        atomic_fetch_or(&crew->hands[i]->orders, (unsigned)which);
        ring(crew->hands[i]);
    }
}

void crew_stop_load(struct crew *crew) {
    order(crew, ORDER_STOP_LOAD);
}

void crew_listen(struct crew *crew, struct listen_set *const *sets, size_t set_count) {
    crew->sets = sets;
    crew->set_count = set_count;
    order(crew, ORDER_LISTEN);
}

void crew_drain(struct crew *crew) {
    order(crew, ORDER_DRAIN);
}

void crew_kill(struct crew *crew) {
    order(crew, ORDER_KILL);
}

void crew_close(struct crew *crew) {
    order(crew, ORDER_CLOSE);
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
        clean = worker_free(hand->worker) && clean;
        uv_mutex_destroy(&hand->lock);
        mem_free(hand);
    }
    mem_free(crew);
    return clean;
}
