/* log_limit.h -- the limit on lines of one event in a second.
 *
 * Only for log.c: for events that clients can cause as often as they like. Counts suppressed lines,
 * so that a later line can say their number. Any thread. */
#ifndef TIDEWIRE_BASE_LOG_LOG_LIMIT_H
#define TIDEWIRE_BASE_LOG_LOG_LIMIT_H

#include "base/log/log.h"

/* Lines that were suppressed within a second; none when `lines` is 0. */
struct log_suppressed {
    char event[32];
    enum log_level level;
    uint64_t lines;
};

enum log_limit_result {
    LOG_LIMIT_WRITE,
    LOG_LIMIT_SUPPRESS,
    LOG_LIMIT_SUPPRESS_FIRST /* the first of this second: log the number when the second is over */
};

/* Is another line of this event allowed? *suppressed gets the suppressed lines of the previous
 * second. */
enum log_limit_result log_limit_take(enum log_level level, const char *event,
                                     struct log_suppressed *suppressed);

/* Takes the suppressed lines of past seconds (`at_once`: of all) of the event at *at, and moves *at
 * to the next event. False: there are no more events. *waits becomes true when lines of this second
 * are left for later. */
bool log_limit_next(size_t *at, bool at_once, struct log_suppressed *suppressed, bool *waits);

/* The number of suppressed lines since the start. */
uint64_t log_limit_count(void);

#endif
