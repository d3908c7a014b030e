/* log_limit.c -- how many lines of one event there may be in a second. See log_limit.h. */
#include "base/log/log_limit.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

/* More than there are events that log_begin_limited() is called with. */
enum { MOST_EVENTS = 16 };

/* Lines of one event in one second. */
struct limit {
    struct log_suppressed suppressed;
    time_t second;
    unsigned count;
};

static struct {
    uv_mutex_t lock;
    struct limit events[MOST_EVENTS];
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
static struct limit *limit_of(const char *event) {
    for (size_t i = 0; i < limits.count; i++)
        if (strcmp(limits.events[i].suppressed.event, event) == 0)
            return &limits.events[i];
    if (limits.count == MOST_EVENTS)
        return NULL;
    struct limit *limit = &limits.events[limits.count++];
    snprintf(limit->suppressed.event, sizeof limit->suppressed.event, "%s", event);
    return limit;
}

/* Begins another second where it is time; in *told what is to be told of the one before. */
static void renew(struct limit *limit, time_t now, struct log_suppressed *told) {
    if (limit->second == now)
        return;
    *told = limit->suppressed;
    limit->second = now;
    limit->count = 0;
    limit->suppressed.lines = 0;
}

enum log_limit_answer log_limit_take(enum log_level level, const char *event,
                                     struct log_suppressed *told) {
    enum log_limit_answer answer = LOG_LIMIT_WRITE;
    told->lines = 0;
    lock();
    struct limit *limit = limit_of(event);
    if (limit != NULL) {
        renew(limit, this_second(), told);
        limit->suppressed.level = level;
        if (++limit->count > LOG_LIMIT) {
            limits.suppressed++;
            answer =
                limit->suppressed.lines++ == 0 ? LOG_LIMIT_FIRST_LEFT_OUT : LOG_LIMIT_LEAVE_OUT;
        }
    }
    unlock();
    return answer;
}

bool log_limit_next(size_t *at, bool at_once, struct log_suppressed *told, bool *waits) {
    told->lines = 0;
    lock();
    bool found = *at < limits.count;
    if (found) {
        struct limit *limit = &limits.events[(*at)++];
        if (limit->suppressed.lines > 0)
            renew(limit, at_once ? 0 : this_second(), told);
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
