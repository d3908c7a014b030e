/* log_limit.h -- how many lines of one event there may be in a second.
 *
 * The log's own: for what clients can cause as often as they like. Counts what is left out, so that
 * it can be told. Any thread. */
#ifndef TIDEWIRE_BASE_LOG_LOG_LIMIT_H
#define TIDEWIRE_BASE_LOG_LOG_LIMIT_H

#include "base/log/log.h"

/* Lines that were left out within a second; none where `lines` is 0. */
struct log_suppressed {
    char event[32];
    enum log_level level;
    uint64_t lines;
};

enum log_limit_answer {
    LOG_LIMIT_WRITE,
    LOG_LIMIT_LEAVE_OUT,
    LOG_LIMIT_FIRST_LEFT_OUT /* of this second: it has to be told of when that is over */
};

/* May there be another line of this event? In *told, what is to be told of the second before. */
enum log_limit_answer log_limit_take(enum log_level level, const char *event,
                                     struct log_suppressed *told);

/* Takes what is to be told of seconds that are over (`at_once`: of all), of the event at *at, which
 * it moves on. False: there are no more events. *waits becomes true where something is to be told
 * of later. */
bool log_limit_next(size_t *at, bool at_once, struct log_suppressed *told, bool *waits);

/* Lines that were left out since the start. */
uint64_t log_limit_count(void);

#endif
