/* worker_thread.c -- one worker and its thread. See worker_thread.h. */
#include "server/workers/worker_thread.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "base/turn.h"
#include "server/workers/thread.h"

/* ---- the worker's thread ---- */

static void on_stage(void *user, enum worker_stage stage) {
    struct worker_thread *thread = user;
    atomic_store(&thread->stage, stage);
    uv_async_send(&thread->context->reports);
}

static void on_exit_called(void *user, int code) {
    struct worker_thread *thread = user;
    int none = -1;
    if (atomic_compare_exchange_strong(&thread->context->exit_code, &none, code))
        uv_async_send(&thread->context->reports);
}

static void report_reload(struct worker_thread *thread, enum reload_stage stage) {
    atomic_store(&thread->reload.stage, stage);
    uv_async_send(&thread->context->reports);
}

static void on_app_loaded(void *user, struct app *app, const char *problems, const char *sources) {
    struct worker_thread *thread = user;
    thread->reload.app = app;
    thread->reload.problems = mem_strdup(problems);
    thread->reload.sources = mem_strdup(sources);
    report_reload(thread, app == NULL ? RELOAD_FAILED : RELOAD_LOADED);
}

static void free_next(struct worker_thread *thread) {
    app_free(thread->reload.app);
    mem_free(thread->reload.problems);
    mem_free(thread->reload.sources);
    thread->reload.app = NULL;
    thread->reload.problems = thread->reload.sources = NULL;
}

static void activate(struct worker_thread *thread) {
    uint64_t before = clock_monotonic_ns();
    thread->reload.codec_closed = worker_activate(thread->worker, thread->reload.app);
    thread->reload.pause_ns = clock_monotonic_ns() - before;
    thread->reload.app = NULL; /* the worker owns it */
    free_next(thread);
    report_reload(thread, RELOAD_ACTIVATED);
}

static void discard(struct worker_thread *thread) {
    vm_discard(worker_vm(thread->worker));
    free_next(thread);
    report_reload(thread, RELOAD_NONE);
}

static void count(struct worker_thread *thread) {
    struct generation_counts counts = {0};
    worker_count(thread->worker, &counts);
    uv_mutex_lock(&thread->lock);
    thread->counts = counts;
    thread->has_counted = true;
    uv_mutex_unlock(&thread->lock);
    uv_async_send(&thread->context->reports);
}

static void run_state_step(struct worker_thread *thread) {
    enum state_step step = atomic_load(&thread->state_step);
    if (step == STATE_STEP_NONE || step >= STATE_STEP_RUNS ||
        !atomic_compare_exchange_strong(&thread->state_step, &step, STATE_STEP_RUNS))
        return; /* it was withdrawn */
    if (step == STATE_STEP_TAKE)
        worker_take_state(thread->worker);
    else if (step == STATE_STEP_DETACH)
        atomic_store(&thread->is_at_rest, worker_detach_sessions(thread->worker));
    else if (step == STATE_STEP_ATTACH)
        worker_attach_sessions(thread->worker);
    else
        worker_save_state(thread->worker);
    step = STATE_STEP_RUNS; /* unless the main thread has asked for another step meanwhile */
    atomic_compare_exchange_strong(&thread->state_step, &step, STATE_STEP_DONE);
    uv_async_send(&thread->context->reports);
}

/* Runs the pending commands, in a sequence that is right for any of them together. */
static void run_commands(struct worker_thread *thread) {
    unsigned commands = atomic_exchange(&thread->commands, 0);
    const struct worker_context *context = thread->context;
    struct worker *worker = thread->worker;
    struct vm *vm = worker_vm(worker);
    if (commands & WORKER_STOP_LOAD)
        vm_stop_load(vm);
    if (commands & WORKER_LISTEN)
        worker_listen(worker, context->sets, context->set_count);
    if (commands & WORKER_LOAD)
        vm_load_next(vm, context->file, context->settings, context->generation, on_app_loaded,
                     thread);
    if (commands & WORKER_ACTIVATE)
        activate(thread);
    if (commands & WORKER_DISCARD)
        discard(thread);
    if (commands & WORKER_LOG_SLOW_LOAD)
        vm_log_slow_load(vm, context->load_seconds, context->loading, context->count);
    if (commands & WORKER_COUNT)
        count(thread);
    if (commands & WORKER_DRAIN)
        worker_drain(worker, &context->drain);
    if (commands & WORKER_CLOSE_CLIENTS)
        worker_close_clients(worker, &context->drain);
    if (commands & WORKER_KILL)
        worker_kill(worker);
    if (commands & WORKER_STATE)
        run_state_step(thread);
    if (commands & WORKER_END) {
        thread->must_end = true;
        uv_stop(worker_loop(worker));
    }
}

static void on_wakeup(uv_async_t *wakeup) {
    struct worker_thread *thread = wakeup->data;
    turn_begin(wakeup->loop);
    atomic_store(&thread->pinged_ns, 0);
    run_commands(thread);
}

static void set_can_wake(struct worker_thread *thread, bool can_wake) {
    uv_mutex_lock(&thread->lock);
    thread->can_wake = can_wake;
    uv_mutex_unlock(&thread->lock);
}

static void open_wakeup(struct worker_thread *thread) {
    uv_async_init(worker_loop(thread->worker), &thread->wakeup, on_wakeup);
    thread->wakeup.data = thread;
    /* while the script loads, only the handles that it waits for keep the loop alive */
    uv_unref((uv_handle_t *)&thread->wakeup);
    set_can_wake(thread, true);
    run_commands(thread); /* those that were given before */
}

static void close_wakeup(struct worker_thread *thread) {
    set_can_wake(thread, false);
    uv_close((uv_handle_t *)&thread->wakeup, NULL);
}

static void run_worker(struct worker_thread *thread) {
    const struct worker_context *context = thread->context;
    struct worker *worker = thread->worker;
    open_wakeup(thread);
    if (worker_load(worker, context->file, context->settings)) {
        uv_ref((uv_handle_t *)&thread->wakeup);
        while (!thread->must_end) /* a script can stop the loop as well */
            uv_run(worker_loop(worker), UV_RUN_DEFAULT);
    }
    worker_close(worker);
    close_wakeup(thread);
    thread->cut_short = !worker_finish(worker);
}

static void run(void *argument) {
    struct worker_thread *thread = argument;
    struct worker_events events = {on_stage, on_exit_called, thread};
    log_set_worker((int)thread->number);
    thread->worker = worker_new(thread->number, thread->context->process, &events);
    if (thread->worker != NULL)
        run_worker(thread);
    else
        on_stage(thread, STAGE_FAILED);
    on_stage(thread, STAGE_ENDED);
}

/* ---- the main thread ---- */

struct worker_thread *worker_thread_start(struct worker_context *context, unsigned number) {
    struct worker_thread *thread = mem_zalloc(sizeof *thread);
    thread->context = context;
    thread->number = number;
    uv_mutex_init(&thread->lock);
    int result = thread_start(&thread->thread, run, thread);
    if (result == 0)
        return thread;
    log_eventf(LOG_ERROR, "start_failed", "cannot start a thread for worker %u: %s", number,
               uv_strerror(result));
    worker_thread_free(thread);
    return NULL;
}

void worker_thread_wake(struct worker_thread *thread) {
    uv_mutex_lock(&thread->lock);
    if (thread->can_wake)
        uv_async_send(&thread->wakeup);
    uv_mutex_unlock(&thread->lock);
}

void worker_thread_command(struct worker_thread *thread, enum worker_command command) {
    atomic_fetch_or(&thread->commands, (unsigned)command);
    worker_thread_wake(thread);
}

bool worker_thread_free(struct worker_thread *thread) {
    bool clean = worker_free(thread->worker);
    free_next(thread);
    uv_mutex_destroy(&thread->lock);
    mem_free(thread);
    return clean;
}
