/* log.h -- one event a line, as text or JSON, to stderr or a file.
 *
 * A line is built field by field and written with one write(2), so lines of several threads do not
 * mix. Values are escaped: nothing that a client sends can break a line or forge another. Payloads
 * and secrets are never given to it. Set up once by main before threads start. */
#ifndef TIDEWIRE_BASE_LOG_H
#define TIDEWIRE_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

/* A line being built. The fields are the log's own. */
struct log_line {
    bool wanted;
    size_t used, capacity;
    char *bytes;
    char fixed[512];
};

void log_set_level(enum log_level level);
void log_set_format(enum log_format format);

/* Which worker the calling thread is, shown in each of its lines; -1 (the default) shows none. */
void log_set_worker(int worker);

/* "debug", "info", "warn", "error" -> the level; false when it is none of them. */
bool log_level_parse(const char *text, enum log_level *level);

/* Sends lines to a file (appended, created with mode 0640) instead of stderr. 0 or -errno. */
int log_open(const char *path);

/* Opens the same file again, after it was moved away. 0 or -errno; on failure the old one stays. */
int log_reopen(void);

bool log_enabled(enum log_level level);

/* A line: log_begin, any number of fields, log_end. `event` is a short word. */
void log_begin(struct log_line *line, enum log_level level, const char *event);
void log_str(struct log_line *line, const char *key, const char *value);
void log_bytes(struct log_line *line, const char *key, const char *value, size_t len);
void log_int(struct log_line *line, const char *key, int64_t value);
void log_num(struct log_line *line, const char *key, double value);
void log_bool(struct log_line *line, const char *key, bool value);
/* A connection's id, in the form that scripts see as conn.id. */
void log_conn(struct log_line *line, uint64_t conn);
void log_end(struct log_line *line);

/* A whole line with one field, `why`. */
void log_event(enum log_level level, const char *event, const char *why);

/* The same with printf-like text for `why`. */
void log_eventf(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
