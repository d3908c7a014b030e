/* log.h -- one event a line, as text, as JSON or for people, to stderr or a file.
 *
 * The caller builds a line field by field, and the log queues it whole (log_queue.h), so lines of
 * several threads do not mix. The log escapes values: no bytes of a client can break a line or
 * forge another. Lines and values have a limit in bytes. Logging never waits for the reader of the
 * log. Callers never log payloads or secrets. main sets the log up once, before threads start. */
#ifndef TIDEWIRE_BASE_LOG_LOG_H
#define TIDEWIRE_BASE_LOG_LOG_H

#include "base/conn_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
/* LOG_AUTO: for people when the log goes to a standard error that is a terminal, otherwise as text.
 */
enum log_format { LOG_TEXT, LOG_JSON, LOG_PRETTY, LOG_AUTO };

/* A line being built. The fields are the log's own. */
struct log_line {
    bool wanted;
    enum log_level level;
    const char *event;
    struct timespec time;
    int worker;        /* -1: none */
    unsigned left_out; /* fields that did not fit */
    size_t used, capacity;
    char *bytes; /* the fields, as log_next_field() reads them */
    char fixed[512];
};

/* ---- settings ---- */

void log_set_level(enum log_level level);
void log_set_format(enum log_format format);

/* The number of workers; with one, the format for people does not name the worker. */
void log_set_workers(unsigned workers);

/* The worker of the calling thread, shown in each of its lines; -1 (the default): none. */
void log_set_worker(int worker);

/* "debug", "info", "warn", "error" -> the level; false for another word. */
bool log_level_parse(const char *text, enum log_level *level);

/* Sends lines to the standard error. Other processes may share it, so its flags do not change. */
void log_open_stderr(void);

/* Sends lines to a file (appended, created with mode 0640) or a FIFO instead. 0 or -errno. */
int log_open(const char *path);

/* Opens the same file again, after it was renamed. 0 or -errno; on failure the old one stays. */
int log_reopen(void);

/* ---- state ---- */

bool log_enabled(enum log_level level);

/* Is the format the one for people? */
bool log_is_pretty(void);

/* The level of lines for developers, which operators do not need: info in the format for people,
 * otherwise debug. */
enum log_level log_refusal_level(void);

struct log_figures {
    uint64_t dropped;        /* lines that did not fit while no reader read */
    uint64_t output_dropped; /* the same of log_output() */
    uint64_t suppressed;     /* lines of log_begin_limited() above the limit */
    uint64_t waiting;        /* bytes that wait */
};
void log_figures(struct log_figures *figures);

/* ---- lines ---- */

/* A line: log_begin, any number of fields, log_end. `event` is a short word, of less than 32
 * letters. */
void log_begin(struct log_line *line, enum log_level level, const char *event);

/* The same for an event that clients can cause as often as they like: above LOG_LIMIT lines of this
 * event in a second, unless the level is debug, the log suppresses and counts it, and a later line
 * says how many. */
enum { LOG_LIMIT = 20 };
void log_begin_limited(struct log_line *line, enum log_level level, const char *event);

/* Keys and values are copied. */
void log_str(struct log_line *line, const char *key, const char *value);
void log_bytes(struct log_line *line, const char *key, const char *value, size_t len);
void log_int(struct log_line *line, const char *key, int64_t value);
void log_num(struct log_line *line, const char *key, double value);
/* A duration, to the microsecond. */
void log_seconds(struct log_line *line, const char *key, double seconds);
void log_bool(struct log_line *line, const char *key, bool value);
/* A connection's id, in the form that scripts see as conn.id. */
void log_conn(struct log_line *line, conn_id conn);
/* The frames of a traceback, one a line, innermost first. */
void log_frames(struct log_line *line, const char *key, const char *frames, size_t len);
/* For people only: the path of the connection's endpoint; lines of source, "number<tab>text", of
 * which `middle` (a number as text) is marked. */
void log_path(struct log_line *line, const char *path);
void log_source(struct log_line *line, const char *middle, const char *lines, size_t len);
void log_end(struct log_line *line);

/* A whole line with one field, `why`. */
void log_event(enum log_level level, const char *event, const char *why);

/* The same with printf-like text for `why`. */
void log_eventf(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Output of a script: to the standard output, whole, in the order of calls, without waiting, as for
 * the log. The log says how many lines were dropped. */
void log_output(const char *bytes, size_t len);

/* From now on log_output() does not wait for the reader of the standard output. */
void log_open_output(void);

/* An unformatted line to the standard error, wherever the log goes: for the user who starts the
 * program. */
void log_print(const char *text);

/* ---- for the thread that writes the log, and for the end ---- */

/* Logs the numbers of suppressed lines. True: call it again in a second. */
bool log_tick(void);

/* Writes waiting lines, as far as possible without blocking. False: some are left. */
bool log_flush(void);

#endif
