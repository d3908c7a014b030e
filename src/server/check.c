/* check.c -- `tidewire check`. See check.h. */
#include "server/check.h"

#include "server/reload.h"
#include "server/server.h"
#include "server/workers/worker.h"

#include <stdio.h>

static void on_check_late(uv_timer_t *timer) {
    vm_log_slow_load(worker_vm(timer->data), RELOAD_SLOW_MS / 1000.0, 1, 1);
}

/* Loads the app. A load that takes long is logged once. NULL after the errors were printed. */
static const struct app *check_load(struct worker *worker, const struct settings *settings,
                                    uv_timer_t *timer) {
    uv_timer_init(worker_loop(worker), timer);
    timer->data = worker;
    uv_timer_start(timer, on_check_late, RELOAD_SLOW_MS, 0);
    uv_unref(
        (uv_handle_t *)timer); /* only the handles that the script waits for keep the loop alive */
    worker_load(worker, settings->target, settings);
    uv_close((uv_handle_t *)timer, NULL); /* worker_finish() runs the loop for it */
    return worker_app(worker);
}

int check_run(const struct settings *settings) {
    process_set_signals();
    log_set_level(settings->log_level < LOG_WARN ? LOG_WARN : settings->log_level);
    log_set_format(settings->log_format);
    log_open_stderr();
    struct process process;
    process_init(&process);
    struct worker *worker = worker_new(0, &process, &(struct worker_events){0});
    uv_timer_t timer;
    const struct app *app = worker == NULL ? NULL : check_load(worker, settings, &timer);
    int code = app == NULL ? EXIT_USAGE : EXIT_CLEAN;
    if (app != NULL)
        printf("%s: ok (%u endpoint%s, %u HTTP route%s)\n", settings->target, app->endpoint_count,
               app->endpoint_count == 1 ? "" : "s", app->route_count,
               app->route_count == 1 ? "" : "s");
    if (app != NULL && app->state != NULL) {
        char text[1024];
        state_describe(app->state, text, sizeof text);
        printf("%s\n", text);
    }
    if (worker != NULL) {
        worker_close(worker);
        if (!worker_finish(worker))
            server_exit_now(code, "a handle, request or thread of luv does not end");
    }
    char why[POOLS_WHY_BYTES];
    if (!pools_end(process.pools, POOLS_END_MS, why, sizeof why))
        server_exit_now(code, why);
    worker_free(worker);
    process_close(&process);
    return code;
}
