/* watch.c -- sees that a script was saved. See watch.h.
 *
 * What counts is how the files are (snapshot.c), looked at each second. The system's events
 * (inotify, folders.c) only say that it is worth looking at once: there is none on a network's file
 * system, where a link far above the file is moved, when the queue has run over, or when the
 * system's watches are used up. A change counts when it has stood still for a moment, since editors
 * and `git checkout` make several in a row; files that are gone get longer, since a build or a slow
 * disk brings them back. */
#include "server/watch.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "server/watch/folders.h"
#include "server/watch/snapshot.h"

#include <stdbool.h>

enum {
    SOON_MS = 40,     /* after an event */
    STILL_MS = 100,   /* a change is whole when nothing more changed for so long */
    MOVING_MS = 5000, /* and it counts though something changes all the time */
    GONE_MS = 2000,   /* files that are gone may come back meanwhile */
    LOOK_MS = 1000,
    LEAST_REST = 50 /* how many times as long as a look takes there is none */
};

struct watch {
    uv_loop_t *loop;
    struct reload *reload;
    char *sources;
    struct snapshot *loaded; /* how files were when they were read */
    struct snapshot *seen;   /* and when they were last looked at; NULL: no different */
    double since;            /* Unix time: when reading them began */
    uint64_t moving_since_ms, gone_since_ms; /* 0: not */
    struct folders *folders;
    uv_timer_t timer; /* of the next look */
    bool soon;        /* it is for an event, or for a change that must stand still */
};

static void look_in(struct watch *watch, uint64_t ms, bool soon);

static void keep(struct snapshot **place, struct snapshot *snapshot) {
    snapshot_free(*place);
    *place = snapshot;
}

/* The change is whole: logs the first file of it, and how many others changed. */
static void want_reload(struct watch *watch, struct snapshot *now,
                        const struct difference *difference) {
    size_t others = difference->changed + difference->gone - 1;
    struct log_line line;
    log_begin(&line, LOG_INFO, "saved");
    log_str(&line, "file", difference->file);
    if (others > 0)
        log_int(&line, "others", (int64_t)others);
    log_end(&line);
    keep(&watch->loaded, now);
    keep(&watch->seen, NULL);
    watch->moving_since_ms = watch->gone_since_ms = 0;
    reload_request(watch->reload, NULL, NULL);
}

/* Is something missing that may come back? */
static bool may_come_back(struct watch *watch, const struct difference *difference) {
    uint64_t now = uv_now(watch->loop);
    if (difference->gone == 0) {
        watch->gone_since_ms = 0;
        return false;
    }
    if (watch->gone_since_ms == 0)
        watch->gone_since_ms = now;
    return now - watch->gone_since_ms < GONE_MS;
}

static bool stands_still(struct watch *watch, const struct snapshot *now) {
    struct difference since_last = {0};
    uint64_t ms = uv_now(watch->loop);
    bool known = watch->seen != NULL;
    if (known)
        since_last = snapshot_compare(watch->seen, now);
    if (watch->moving_since_ms == 0)
        watch->moving_since_ms = ms;
    return (known && since_last.file == NULL) || ms - watch->moving_since_ms >= MOVING_MS;
}

/* Looks. True: something has changed that must stand still first. */
static bool look(struct watch *watch) {
    struct snapshot *now = snapshot_take(watch->sources);
    struct difference difference = snapshot_compare(watch->loaded, now);
    folders_renew(watch->folders, watch->sources);
    if (difference.file == NULL) { /* or no different any more */
        snapshot_free(now);
        keep(&watch->seen, NULL);
        watch->moving_since_ms = watch->gone_since_ms = 0;
        return false;
    }
    bool still = stands_still(watch, now);
    if (still && !may_come_back(watch, &difference)) {
        want_reload(watch, now, &difference);
        return false;
    }
    keep(&watch->seen, now);
    return true;
}

static void on_timer(uv_timer_t *timer) {
    struct watch *watch = timer->data;
    uint64_t began = uv_hrtime();
    bool moving = look(watch);
    uint64_t took_ms = (uv_hrtime() - began) / 1000000, rest = took_ms * LEAST_REST;
    if (moving)
        look_in(watch, STILL_MS, true);
    else
        look_in(watch, rest > LOOK_MS ? rest : LOOK_MS, false);
}

static void look_in(struct watch *watch, uint64_t ms, bool soon) {
    watch->soon = soon;
    uv_timer_start(&watch->timer, on_timer, ms, 0);
}

/* Something happened in a folder. However often: it is looked once. */
static void on_event(void *user) {
    struct watch *watch = user;
    if (watch->sources != NULL && !watch->soon)
        look_in(watch, SOON_MS, true);
}

/* Scripts were read, or looked for. */
static void on_sources(void *user, const char *sources) {
    struct watch *watch = user;
    struct snapshot *now = snapshot_take(sources);
    snapshot_inherit(now, watch->loaded, watch->since);
    keep(&watch->loaded, now);
    mem_free(watch->sources);
    watch->sources = mem_strdup(sources);
    folders_renew(watch->folders, sources);
    look_in(watch, SOON_MS, true); /* what was saved while it was read */
}

struct watch *watch_new(uv_loop_t *loop, double since, struct reload *reload, const char *sources) {
    struct watch *watch = mem_zalloc(sizeof *watch);
    watch->loop = loop;
    watch->reload = reload;
    watch->since = since;
    watch->folders = folders_new(loop, on_event, watch);
    uv_timer_init(loop, &watch->timer);
    watch->timer.data = watch;
    on_sources(watch, sources);
    reload_watch(reload, on_sources, watch);
    return watch;
}

void watch_begin(struct watch *watch) {
    if (watch == NULL || watch->sources == NULL)
        return;
    watch->since = clock_wall_seconds();
    keep(&watch->loaded, snapshot_take(watch->sources));
    keep(&watch->seen, NULL);
    watch->moving_since_ms = watch->gone_since_ms = 0;
}

static void on_timer_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

void watch_close(struct watch *watch) {
    if (watch == NULL)
        return;
    folders_close(watch->folders);
    keep(&watch->loaded, NULL);
    keep(&watch->seen, NULL);
    mem_free(watch->sources);
    uv_close((uv_handle_t *)&watch->timer, on_timer_closed);
}
