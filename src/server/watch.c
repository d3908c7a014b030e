/* watch.c -- requests a reload when a script was saved. See watch.h.
 *
 * The state of the files decides (lua/tidewire/watch); it is read five times a second. Not the
 * system's events (inotify): they are missing on network file systems, where a symbolic link far
 * above the file is moved, when the queue of events is full, and when the system has no watch left;
 * so the files must be read anyway. */
#include "server/watch.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "script/vm/saves.h"

enum {
    LOOK_MS = 200,    /* between two looks */
    SETTLED_MS = 100, /* a change is complete when nothing more has changed for so long */
    REST_FACTOR = 50, /* the pause after a look is at least so many times as long as the look */
};

struct watch {
    struct reload *reload;
    struct saves *saves;
    uv_timer_t timer; /* of the next look */
};

/* Logs the first file of a change, and how many others have changed. */
static void log_saved(const struct saves_result *result) {
    struct log_line line;
    log_begin(&line, LOG_INFO, "saved");
    log_str(&line, "file", result->file);
    if (result->others > 0)
        log_int(&line, "others", result->others);
    log_end(&line);
}

static void on_timer(uv_timer_t *timer) {
    struct watch *watch = timer->data;
    uint64_t began = uv_hrtime();
    struct saves_result result = saves_look(watch->saves, uv_now(timer->loop));
    uint64_t rest_ms = (uv_hrtime() - began) / 1000000 * REST_FACTOR;
    if (rest_ms < LOOK_MS)
        rest_ms = LOOK_MS;
    uv_timer_start(timer, on_timer, result.is_changing ? SETTLED_MS : rest_ms, 0);
    if (result.file == NULL)
        return;
    log_saved(&result);
    reload_request(watch->reload, NULL, NULL);
}

/* A load has ended, or has failed: these are the scripts that it asked for. */
static void on_sources(void *user, const char *sources) {
    struct watch *watch = user;
    saves_set_sources(watch->saves, sources);
    uv_timer_start(&watch->timer, on_timer, LOOK_MS, 0); /* finds what was saved during the load */
}

struct watch *watch_new(uv_loop_t *loop, double since, struct reload *reload, const char *sources) {
    struct watch *watch = mem_zalloc(sizeof *watch);
    watch->reload = reload;
    watch->saves = saves_new(loop, since);
    uv_timer_init(loop, &watch->timer);
    watch->timer.data = watch;
    on_sources(watch, sources);
    reload_watch(reload, on_sources, watch);
    return watch;
}

void watch_before_load(struct watch *watch) {
    if (watch != NULL)
        saves_before_load(watch->saves, clock_wall_seconds());
}

static void on_timer_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

void watch_close(struct watch *watch) {
    if (watch == NULL)
        return;
    saves_free(watch->saves);
    uv_close((uv_handle_t *)&watch->timer, on_timer_closed);
}
