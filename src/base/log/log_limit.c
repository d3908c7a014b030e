/* log_limit.c -- the limit on lines of one event in a second. See log_limit.h. */
#include "base/log/log_limit.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

/* More than the number of events that log_begin_limited() is called for. */
enum { MOST_EVENTS = 24 };

/* Lines of one event in one second. */
struct event_limit {
    struct log_suppressed suppressed;
    time_t second;
    unsigned count;
};

static struct {
    uv_mutex_t lock;
    struct event_limit events[MOST_EVENTS];
    size_t count;
    uint64_t suppressed; /* since the start */
} limits;

static void init(void) {
    uv_mutex_init(&limits.lock);
}

static void lock(void) {
    static uv_once_t once = UV_ONCE_INIT;
    uv_once(&once, init);
    uv_mutex_lock(&limits.lock);
}

static void unlock(void) {
    uv_mutex_unlock(&limits.lock);
}

static time_t this_second(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec;
}

/* NULL: there are too many events. */
static struct event_limit *limit_of(const char *event) {
    for (size_t i = 0; i < limits.count; i++)
        if (strcmp(limits.events[i].suppressed.event, event) == 0)
            return &limits.events[i];
    if (limits.count == MOST_EVENTS)
        return NULL;
    struct event_limit *limit = &limits.events[limits.count++];
    snprintf(limit->suppressed.event, sizeof limit->suppressed.event, "%s", event);
    return limit;
}

/* Begins another second when it is time; *suppressed gets the lines of the previous one. */
static void begin_second(struct event_limit *limit, time_t now, struct log_suppressed *suppressed) {
    if (limit->second == now)
        return;
    *suppressed = limit->suppressed;
    limit->second = now;
    limit->count = 0;
    limit->suppressed.lines = 0;
}

enum log_limit_result log_limit_take(enum log_level level, const char *event,
                                     struct log_suppressed *suppressed) {
    enum log_limit_result result = LOG_LIMIT_WRITE;
    suppressed->lines = 0;
    lock();
    struct event_limit *limit = limit_of(event);
    if (limit != NULL) {
        begin_second(limit, this_second(), suppressed);
        limit->suppressed.level = level;
        if (++limit->count > LOG_LIMIT) {
            limits.suppressed++;
            result = limit->suppressed.lines++ == 0 ? LOG_LIMIT_SUPPRESS_FIRST : LOG_LIMIT_SUPPRESS;
        }
    }
    unlock();
    return result;
}

bool log_limit_next(size_t *at, bool at_once, struct log_suppressed *suppressed, bool *waits) {
    suppressed->lines = 0;
    lock();
    bool found = *at < limits.count;
    if (found) {
        struct event_limit *limit = &limits.events[(*at)++];
        if (limit->suppressed.lines > 0)
            begin_second(limit, at_once ? 0 : this_second(), suppressed);
        *waits = *waits || limit->suppressed.lines > 0;
    }
    unlock();
    return found;
}

uint64_t log_limit_count(void) {
    lock();
    uint64_t count = limits.suppressed;
    unlock();
    return count;
}
