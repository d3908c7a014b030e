/* watch.c -- requests a reload when a script was saved. See watch.h.
 *
 * The state of the files decides (snapshot.c); it is read five times a second. Not the system's
 * events (inotify): they are missing on network file systems, where a symbolic link far above the
 * file is moved, when the queue of events is full, and when the system has no watch left; so the
 * files must be read anyway. A change counts when the files have not changed further for a moment,
 * since editors and `git checkout` make several changes in a row. Files that are gone get more
 * time: a build or a slow disk brings them back. */
#include "server/watch.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "server/watch/snapshot.h"

#include <stdbool.h>

enum {
    LOOK_MS = 200,       /* between two looks */
    SETTLED_MS = 100,    /* a change is complete when nothing more has changed for so long, */
    UNSETTLED_MS = 5000, /* or when it has gone on for so long */
    GONE_MS = 2000,      /* files that are gone may come back within this time */
    REST_FACTOR = 50,    /* the pause after a look is at least so many times as long as the look */
};

struct watch {
    uv_loop_t *loop;
    struct reload *reload;
    char *sources;
    struct snapshot *loaded;                   /* the files as they were loaded */
    struct snapshot *seen;                     /* at the last look; NULL: as they were loaded */
    double since;                              /* when that load began, in seconds of Unix time */
    uint64_t changing_since_ms, gone_since_ms; /* 0: no file is */
    uv_timer_t timer;                          /* of the next look */
};

/* Replaces a snapshot of the watch. */
static void set(struct snapshot **snapshot, struct snapshot *value) {
    snapshot_free(*snapshot);
    *snapshot = value;
}

/* The files are as they were loaded. */
static void set_unchanged(struct watch *watch) {
    set(&watch->seen, NULL);
    watch->changing_since_ms = watch->gone_since_ms = 0;
}

/* The change is complete: logs its first file, and how many others have changed. */
static void request_reload(struct watch *watch, struct snapshot *now,
                           const struct snapshot_diff *diff) {
    size_t others = diff->changed + diff->gone - 1;
    struct log_line line;
    log_begin(&line, LOG_INFO, "saved");
    log_str(&line, "file", diff->file);
    if (others > 0)
        log_int(&line, "others", (int64_t)others);
    log_end(&line);
    set(&watch->loaded, now);
    set_unchanged(watch);
    reload_request(watch->reload, NULL, NULL);
}

/* Is a source missing that may come back? */
static bool may_come_back(struct watch *watch, const struct snapshot_diff *diff) {
    uint64_t now = uv_now(watch->loop);
    if (diff->gone == 0) {
        watch->gone_since_ms = 0;
        return false;
    }
    if (watch->gone_since_ms == 0)
        watch->gone_since_ms = now;
    return now - watch->gone_since_ms < GONE_MS;
}

/* Has nothing changed since the last look, or has it changed for too long? */
static bool is_settled(struct watch *watch, const struct snapshot *now) {
    uint64_t ms = uv_now(watch->loop);
    if (watch->changing_since_ms == 0)
        watch->changing_since_ms = ms;
    return (watch->seen != NULL && snapshot_compare(watch->seen, now).file == NULL) ||
           ms - watch->changing_since_ms >= UNSETTLED_MS;
}

/* Compares the files with the loaded ones. True: they have changed, and must settle first. */
static bool look(struct watch *watch) {
    struct snapshot *now = snapshot_take(watch->sources);
    struct snapshot_diff diff = snapshot_compare(watch->loaded, now);
    if (diff.file == NULL) {
        snapshot_free(now);
        set_unchanged(watch);
        return false;
    }
    if (is_settled(watch, now) && !may_come_back(watch, &diff)) {
        request_reload(watch, now, &diff);
        return false;
    }
    set(&watch->seen, now);
    return true;
}

static void on_timer(uv_timer_t *timer) {
    struct watch *watch = timer->data;
    uint64_t began = uv_hrtime();
    bool is_changing = look(watch);
    uint64_t rest_ms = (uv_hrtime() - began) / 1000000 * REST_FACTOR;
    if (rest_ms < LOOK_MS)
        rest_ms = LOOK_MS;
    uv_timer_start(timer, on_timer, is_changing ? SETTLED_MS : rest_ms, 0);
}

/* A load has ended, or has failed: these are the scripts that it asked for. */
static void on_sources(void *user, const char *sources) {
    struct watch *watch = user;
    struct snapshot *now = snapshot_take(sources);
    snapshot_carry_over(now, watch->loaded, watch->since);
    set(&watch->loaded, now);
    mem_free(watch->sources);
    watch->sources = mem_strdup(sources);
    uv_timer_start(&watch->timer, on_timer, LOOK_MS, 0); /* finds what was saved during the load */
}

struct watch *watch_new(uv_loop_t *loop, double since, struct reload *reload, const char *sources) {
    struct watch *watch = mem_zalloc(sizeof *watch);
    watch->loop = loop;
    watch->reload = reload;
    watch->since = since;
    uv_timer_init(loop, &watch->timer);
    watch->timer.data = watch;
    on_sources(watch, sources);
    reload_watch(reload, on_sources, watch);
    return watch;
}

void watch_before_load(struct watch *watch) {
    if (watch == NULL || watch->sources == NULL)
        return;
    watch->since = clock_wall_seconds();
    set(&watch->loaded, snapshot_take(watch->sources));
    set_unchanged(watch);
}

static void on_timer_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

void watch_close(struct watch *watch) {
    if (watch == NULL)
        return;
    set(&watch->loaded, NULL);
    set(&watch->seen, NULL);
    mem_free(watch->sources);
    uv_close((uv_handle_t *)&watch->timer, on_timer_closed);
}
