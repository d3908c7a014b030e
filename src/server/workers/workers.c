/* workers.c -- all workers of the process, each on a thread of its own. See workers.h. */
#include "server/workers/workers.h"

#include "base/clock.h"
#include "base/mem.h"

struct workers {
    struct worker_context context;
    void (*on_report)(void *user);
    void *user;
    bool draining; /* WORKER_DRAIN was given, WORKER_CLOSE_CLIENTS was not */
    unsigned count;
    struct worker_thread *threads[BUS_MAX_WORKERS];
};

void workers_command(struct workers *workers, enum worker_command command) {
    for (unsigned i = 0; i < workers->count; i++)
        worker_thread_command(workers->threads[i], command);
}

static void on_reports(uv_async_t *reports) {
    struct workers *workers = reports->data;
    if (workers->draining && workers_reached(workers, STAGE_ON_STOP_DONE)) {
        workers->draining = false;
        workers_command(workers, WORKER_CLOSE_CLIENTS);
    }
    workers->on_report(workers->user);
}

struct workers *workers_new(uv_loop_t *loop, struct process *process, const char *file,
                            const struct settings *settings, void (*on_report)(void *user),
                            void *user) {
    struct workers *workers = mem_zalloc(sizeof *workers);
    workers->context.process = process;
    workers->context.file = file;
    workers->context.settings = settings;
    atomic_init(&workers->context.exit_code, -1);
    uv_async_init(loop, &workers->context.reports, on_reports);
    workers->context.reports.data = workers;
    workers->on_report = on_report;
    workers->user = user;
    return workers;
}

bool workers_start(struct workers *workers, unsigned count) {
    while (workers->count < count) {
        struct worker_thread *thread = worker_thread_start(&workers->context, workers->count);
        if (thread == NULL)
            return false;
        workers->threads[workers->count++] = thread;
    }
    return true;
}

unsigned workers_count(const struct workers *workers) {
    return workers->count;
}

bool workers_reached(const struct workers *workers, enum worker_stage stage) {
    for (unsigned i = 0; i < workers->count; i++)
        if (atomic_load(&workers->threads[i]->stage) < stage)
            return false;
    return true;
}

bool workers_failed(const struct workers *workers) {
    for (unsigned i = 0; i < workers->count; i++)
        if (atomic_load(&workers->threads[i]->stage) >= STAGE_FAILED)
            return true;
    return false;
}

const struct app *workers_app(const struct workers *workers, unsigned worker) {
    return worker_app(workers->threads[worker]->worker);
}

/* ---- loading ---- */

static bool is_loading(const struct worker_thread *thread) {
    return atomic_load(&thread->stage) == STAGE_LOADING ||
           atomic_load(&thread->reload.stage) == RELOAD_LOADING;
}

void workers_log_slow_load(struct workers *workers, double seconds) {
    struct worker_thread *first = NULL;
    unsigned loading = 0;
    for (unsigned i = 0; i < workers->count; i++) {
        if (!is_loading(workers->threads[i]))
            continue;
        first = first == NULL ? workers->threads[i] : first;
        loading++;
    }
    if (first == NULL)
        return;
    workers->context.load_seconds = seconds;
    workers->context.loading = loading;
    workers->context.count = workers->count;
    worker_thread_command(first, WORKER_LOG_SLOW_LOAD);
}

void workers_load(struct workers *workers, unsigned generation) {
    workers->context.generation = generation;
    for (unsigned i = 0; i < workers->count; i++)
        atomic_store(&workers->threads[i]->reload.stage, RELOAD_LOADING);
    workers_command(workers, WORKER_LOAD);
}

bool workers_reload_is(const struct workers *workers, enum reload_stage stage) {
    for (unsigned i = 0; i < workers->count; i++)
        if (atomic_load(&workers->threads[i]->reload.stage) != stage)
            return false;
    return true;
}

const struct reload_result *workers_reload(const struct workers *workers, unsigned worker) {
    return &workers->threads[worker]->reload;
}

uint64_t workers_pause_ns(const struct workers *workers) {
    uint64_t longest = 0;
    for (unsigned i = 0; i < workers->count; i++)
        if (workers->threads[i]->reload.pause_ns > longest)
            longest = workers->threads[i]->reload.pause_ns;
    return longest;
}

uint64_t workers_codec_closed(const struct workers *workers) {
    uint64_t closed = 0;
    for (unsigned i = 0; i < workers->count; i++)
        closed += workers->threads[i]->reload.codec_closed;
    return closed;
}

/* ---- serving and draining ---- */

void workers_listen(struct workers *workers, struct listen_set *const *sets, size_t set_count) {
    workers->context.sets = sets;
    workers->context.set_count = set_count;
    workers_command(workers, WORKER_LISTEN);
}

void workers_drain(struct workers *workers, const struct worker_drain_options *options) {
    workers->context.drain = *options;
    workers->draining = true;
    workers_command(workers, WORKER_DRAIN);
}

/* ---- the state that outlives the process ---- */

void workers_begin_state(struct workers *workers, unsigned worker, enum state_step step) {
    atomic_store(&workers->threads[worker]->state_step, step);
    worker_thread_command(workers->threads[worker], WORKER_STATE);
}

bool workers_state_is_done(const struct workers *workers, unsigned worker) {
    return atomic_load(&workers->threads[worker]->state_step) == STATE_STEP_DONE;
}

bool workers_withdraw_state(struct workers *workers, unsigned worker) {
    enum state_step step = atomic_load(&workers->threads[worker]->state_step);
    return step != STATE_STEP_NONE && step < STATE_STEP_RUNS &&
           atomic_compare_exchange_strong(&workers->threads[worker]->state_step, &step,
                                          STATE_STEP_NONE);
}

bool workers_sessions_rest(const struct workers *workers) {
    for (unsigned i = 0; i < workers->count; i++)
        if (!workers_state_is_done(workers, i) || !atomic_load(&workers->threads[i]->is_at_rest))
            return false;
    return true;
}

/* ---- the end ---- */

int workers_exit_code(const struct workers *workers) {
    return atomic_load(&workers->context.exit_code);
}

bool workers_cut_short(const struct workers *workers) {
    for (unsigned i = 0; i < workers->count; i++)
        if (workers->threads[i]->cut_short)
            return true;
    return false;
}

void workers_join(struct workers *workers) {
    for (unsigned i = 0; i < workers->count; i++)
        uv_thread_join(&workers->threads[i]->thread);
    uv_close((uv_handle_t *)&workers->context.reports, NULL);
}

bool workers_free(struct workers *workers) {
    bool clean = true;
    if (workers == NULL)
        return true;
    for (unsigned i = 0; i < workers->count; i++)
        clean = worker_thread_free(workers->threads[i]) && clean;
    mem_free(workers);
    return clean;
}

/* ---- pings and counts ---- */

double workers_ping(struct workers *workers, unsigned *worker) {
    uint64_t now = clock_monotonic_ns(), longest = 0;
    *worker = 0;
    for (unsigned i = 0; i < workers->count; i++) {
        struct worker_thread *thread = workers->threads[i];
        uint64_t pinged = 0;
        if (atomic_compare_exchange_strong(&thread->pinged_ns, &pinged, now)) {
            worker_thread_wake(thread);
        } else if (now - pinged > longest) {
            longest = now - pinged;
            *worker = i;
        }
    }
    return (double)longest / 1e9;
}

void workers_start_count(struct workers *workers) {
    for (unsigned i = 0; i < workers->count; i++) {
        uv_mutex_lock(&workers->threads[i]->lock);
        workers->threads[i]->has_counted = false;
        uv_mutex_unlock(&workers->threads[i]->lock);
    }
    workers_command(workers, WORKER_COUNT);
}

bool workers_counts(struct workers *workers, struct generation_counts *counts) {
    bool all = true;
    *counts = (struct generation_counts){0};
    for (unsigned i = 0; i < workers->count; i++) {
        struct worker_thread *thread = workers->threads[i];
        uv_mutex_lock(&thread->lock);
        if (thread->has_counted)
            generation_counts_add(counts, &thread->counts);
        all = all && thread->has_counted;
        uv_mutex_unlock(&thread->lock);
    }
    return all;
}
