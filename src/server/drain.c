/* drain.c -- the end of the server in good order. See drain.h.
 *
 * One timer serves two phases: the lame duck, and then the closing of connections, whose time
 * begins with that phase. */
#include "server/drain.h"

void drain_log(const struct drain *drain, enum log_level level, const char *event,
               const char *why) {
    struct log_line line;
    struct stats_total total;
    bus_total(drain->process->bus, &total);
    log_begin(&line, level, event);
    if (why != NULL)
        log_str(&line, "why", why);
    log_int(&line, "connections", (int64_t)total.connections);
    log_end(&line);
}

static void enter(struct drain *drain, enum drain_phase phase) {
    drain->phase = phase;
    drain->on_phase(drain->user, phase);
}

static uint64_t to_ms(double seconds) {
    return (uint64_t)(seconds * 1000);
}

static void on_time_over(uv_timer_t *timer) {
    struct drain *drain = timer->data;
    drain_log(drain, LOG_WARN, "drain_over", NULL);
    enter(drain, DRAIN_OVER);
    workers_command(drain->workers, WORKER_KILL);
}

static void command_drain(struct drain *drain) {
    struct worker_drain_options options = {
        .spread_ms = to_ms(drain->settings->drain_jitter),
        .sockets_stay_open = drain->upgraded || drain->sockets_stay_open,
    };
    workers_drain(drain->workers, &options);
}

static void begin(struct drain *drain, const char *why) {
    drain_log(drain, LOG_INFO, "draining", why);
    enter(drain, DRAIN_CLOSING);
    command_drain(drain);
    uv_timer_start(&drain->timer, on_time_over, to_ms(drain->settings->drain_seconds), 0);
}

static void on_lame_duck_over(uv_timer_t *timer) {
    begin(timer->data, "the time of the lame duck is over");
}

void drain_init(struct drain *drain, uv_loop_t *loop, struct process *process,
                struct workers *workers, const struct settings *settings,
                void (*on_phase)(void *user, enum drain_phase phase), void *user) {
    *drain = (struct drain){.process = process,
                            .workers = workers,
                            .settings = settings,
                            .on_phase = on_phase,
                            .user = user};
    uv_timer_init(loop, &drain->timer);
    drain->timer.data = drain;
}

void drain_close(struct drain *drain) {
    uv_close((uv_handle_t *)&drain->timer, NULL);
}

void drain_signal(struct drain *drain, const char *why) {
    uint64_t lame_duck_ms = to_ms(drain->settings->lame_duck_seconds);
    if (drain->phase == DRAIN_NONE && lame_duck_ms > 0) {
        drain_log(drain, LOG_INFO, "lame_duck", why);
        enter(drain, DRAIN_LAME_DUCK);
        uv_timer_start(&drain->timer, on_lame_duck_over, lame_duck_ms, 0);
    } else if (drain->phase == DRAIN_NONE) {
        begin(drain, why);
    } else if (drain->phase < DRAIN_OVER) {
        drain_log(drain, LOG_WARN, "drain_cut_short", "a second signal");
        uv_timer_stop(&drain->timer);
        if (drain->phase == DRAIN_LAME_DUCK)
            command_drain(drain); /* the workers still run on_stop */
        enter(drain, DRAIN_OVER);
        workers_command(drain->workers, WORKER_KILL);
    }
}

void drain_upgraded(struct drain *drain) {
    drain->upgraded = true;
    begin(drain, "another process serves now");
}
