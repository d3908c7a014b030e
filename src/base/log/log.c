/* log.c -- one event a line. See log.h.
 *
 * Collects the fields of a line. log_render.c makes its bytes, log_queue.c writes them.
 * main sets level, format and file before threads start. The file's descriptor keeps its number
 * when the file is opened again (dup3), so no thread writes to a closed one. */
#include "base/log/log.h"

#include "base/log/log_limit.h"
#include "base/log/log_queue.h"
#include "base/log/log_render.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes of fields that a line keeps until it is written. */
enum { FIELDS_MAX = 64 * 1024 };

/* How long the process waits at its end for a reader that does not read. */
enum { FLUSH_MS = 500 };

static enum log_level threshold = LOG_INFO;
static enum log_format format_ = LOG_TEXT; /* never LOG_AUTO */
static bool is_auto;
static int fd_ = STDERR_FILENO;
static char *path_;
static struct log_pretty pretty_;
static _Thread_local int worker_ = -1;

void log_set_level(enum log_level level) {
    threshold = level;
    pretty_.shows_all = level == LOG_DEBUG;
}

void log_set_format(enum log_format format) {
    is_auto = format == LOG_AUTO;
    format_ = is_auto ? LOG_TEXT : format;
}

void log_set_workers(unsigned workers) {
    pretty_.shows_workers = workers > 1;
}

void log_set_worker(int worker) {
    worker_ = worker;
}

bool log_level_parse(const char *text, enum log_level *level) {
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (strcmp(text, log_level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_enabled(enum log_level level) {
    return level >= threshold;
}

bool log_is_pretty(void) {
    return format_ == LOG_PRETTY;
}

enum log_level log_refusal_level(void) {
    return format_ == LOG_PRETTY ? LOG_INFO : LOG_DEBUG;
}

/* ---- fields ---- */

/* The head of a field; key and value follow. */
struct field_head {
    enum log_kind kind;
    uint32_t key_len, len;
    size_t cut;
};

bool log_next_field(const struct log_line *line, size_t *at, struct log_field *field) {
    if (*at >= line->used)
        return false;
    struct field_head head;
    memcpy(&head, line->bytes + *at, sizeof head);
    const char *key = line->bytes + *at + sizeof head;
    *field =
        (struct log_field){head.kind, key, head.key_len, key + head.key_len, head.len, head.cut};
    *at += sizeof head + head.key_len + head.len;
    return true;
}

static void add(struct log_line *line, const void *bytes, size_t len) {
    if (line->used + len > line->capacity) {
        size_t wanted = (line->used + len) * 2;
        char *grown = mem_alloc(wanted);
        memcpy(grown, line->bytes, line->used);
        if (line->bytes != line->fixed)
            mem_free(line->bytes);
        line->bytes = grown;
        line->capacity = wanted;
    }
    memcpy(line->bytes + line->used, bytes, len);
    line->used += len;
}

static void add_field(struct log_line *line, enum log_kind kind, const char *key, const char *value,
                      size_t len) {
    if (!line->wanted)
        return;
    struct field_head head = {.kind = kind, .key_len = (uint32_t)strnlen(key, LOG_KEY_MAX)};
    head.len = (uint32_t)(len < LOG_VALUE_MAX ? len : LOG_VALUE_MAX);
    head.cut = len - head.len;
    if (line->used + sizeof head + head.key_len + head.len > FIELDS_MAX) {
        line->left_out++;
        return;
    }
    add(line, &head, sizeof head);
    add(line, key, head.key_len);
    add(line, value, head.len);
}

static void render(const struct log_line *line, struct log_out *out) {
    out->used = 0;
    out->for_people = format_ == LOG_PRETTY;
    if (format_ == LOG_JSON)
        log_render_json(line, out);
    else if (format_ == LOG_TEXT)
        log_render_text(line, out);
    else
        log_render_pretty(line, &pretty_, out);
}

static void release(struct log_line *line) {
    if (line->bytes != line->fixed)
        mem_free(line->bytes);
    line->wanted = false;
}

static void begin(struct log_line *line, enum log_level level, const char *event) {
    line->wanted = true;
    line->level = level;
    line->event = event;
    line->worker = worker_;
    line->left_out = 0;
    line->used = 0;
    line->capacity = sizeof line->fixed;
    line->bytes = line->fixed;
    clock_gettime(CLOCK_REALTIME, &line->time);
}

/* A line about the log itself, written at any level. */
static enum log_level own_level(enum log_level level) {
    return level > threshold ? level : threshold;
}

/* log_queue_dropped_fn */
static size_t write_dropped(char *bytes, size_t size, uint64_t dropped, int error) {
    struct log_line line;
    struct log_out out;
    begin(&line, own_level(LOG_WARN), "log_dropped");
    line.worker = -1; /* about all workers */
    log_int(&line, "lines", (int64_t)dropped);
    log_str(&line, "why", error == 0 ? "the reader of the log is too slow" : strerror(error));
    render(&line, &out);
    release(&line);
    size_t len = out.used < size ? out.used : 0;
    memcpy(bytes, out.bytes, len);
    return len;
}

/* ---- limits ---- */

static void log_suppressed_lines(const struct log_suppressed *suppressed) {
    struct log_line line;
    if (suppressed->lines == 0)
        return;
    begin(&line, own_level(suppressed->level), "log_suppressed");
    line.worker = -1; /* about all workers */
    log_str(&line, "of", suppressed->event);
    log_int(&line, "lines", (int64_t)suppressed->lines);
    log_end(&line);
}

/* Is another line of this event allowed? */
static bool take_one(enum log_level level, const char *event) {
    struct log_suppressed suppressed;
    enum log_limit_result result = log_limit_take(level, event, &suppressed);
    log_suppressed_lines(&suppressed);
    if (result == LOG_LIMIT_SUPPRESS_FIRST)
        log_queue_wake(log_queue_log); /* its thread logs the number, if no other line does */
    return result == LOG_LIMIT_WRITE;
}

/* Logs the suppressed lines of past seconds, or of all. True: there are more. */
static bool log_all_suppressed(bool at_once) {
    struct log_suppressed suppressed;
    bool more = false;
    for (size_t at = 0; log_limit_next(&at, at_once, &suppressed, &more);)
        log_suppressed_lines(&suppressed);
    return more;
}

bool log_tick(void) {
    return log_all_suppressed(false);
}

void log_figures(struct log_figures *figures) {
    struct log_queue_figures queue, output;
    log_queue_figures(log_queue_log, &queue);
    log_queue_figures(log_queue_output, &output);
    *figures =
        (struct log_figures){queue.dropped, output.dropped, log_limit_count(), queue.waiting};
}

/* ---- lines ---- */

void log_begin(struct log_line *line, enum log_level level, const char *event) {
    if (log_enabled(level))
        begin(line, level, event);
    else
        line->wanted = false;
}

void log_begin_limited(struct log_line *line, enum log_level level, const char *event) {
    line->wanted = false;
    if (log_enabled(level) && (threshold == LOG_DEBUG || take_one(level, event)))
        begin(line, level, event);
}

void log_bytes(struct log_line *line, const char *key, const char *value, size_t len) {
    add_field(line, LOG_STRING, key, value, len);
}

void log_str(struct log_line *line, const char *key, const char *value) {
    log_bytes(line, key, value == NULL ? "" : value, value == NULL ? 0 : strlen(value));
}

static void add_word(struct log_line *line, const char *key, const char *word) {
    add_field(line, LOG_WORD, key, word, strlen(word));
}

void log_int(struct log_line *line, const char *key, int64_t value) {
    if (!line->wanted)
        return;
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    add_word(line, key, text);
}

void log_num(struct log_line *line, const char *key, double value) {
    if (!line->wanted)
        return;
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    if (format_ == LOG_JSON && !(value - value == 0)) /* not finite: JSON has no such number */
        snprintf(text, sizeof text, "null");
    add_word(line, key, text);
}

void log_seconds(struct log_line *line, const char *key, double seconds) {
    if (!line->wanted)
        return;
    char text[32];
    snprintf(text, sizeof text, "%.6f", seconds);
    add_word(line, key, text);
}

void log_bool(struct log_line *line, const char *key, bool value) {
    add_word(line, key, value ? "true" : "false");
}

void log_conn(struct log_line *line, conn_id conn) {
    if (!line->wanted)
        return;
    char text[CONN_ID_LEN + 1];
    conn_id_format(text, conn);
    add_field(line, LOG_CONN, "conn", text, CONN_ID_LEN);
}

void log_frames(struct log_line *line, const char *key, const char *frames, size_t len) {
    add_field(line, LOG_FRAMES, key, frames, len);
}

void log_path(struct log_line *line, const char *path) {
    if (path != NULL && format_ == LOG_PRETTY)
        add_field(line, LOG_PATH, "path", path, strlen(path));
}

void log_source(struct log_line *line, const char *middle, const char *lines, size_t len) {
    if (format_ == LOG_PRETTY)
        add_field(line, LOG_SOURCE, middle, lines, len);
}

void log_end(struct log_line *line) {
    if (!line->wanted)
        return;
    struct log_out out;
    render(line, &out);
    if (out.used > 0)
        log_queue_put(log_queue_log, out.bytes, out.used);
    release(line);
}

void log_event(enum log_level level, const char *event, const char *why) {
    struct log_line line;
    log_begin(&line, level, event);
    log_str(&line, "why", why);
    log_end(&line);
}

void log_eventf(enum log_level level, const char *event, const char *format, ...) {
    if (!log_enabled(level))
        return;
    char text[LOG_VALUE_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct log_line line;
    log_begin(&line, level, event);
    log_bytes(&line, "why", text, len < 0 ? 0 : strnlen(text, sizeof text));
    log_end(&line);
}

void log_print(const char *text) {
    if (path_ != NULL) {
        fprintf(stderr, "%s\n", text);
        return;
    }
    size_t len = strnlen(text, LOG_QUEUE_BYTES / 2 - 1);
    char *line = mem_alloc(len + 1);
    memcpy(line, text, len);
    line[len] = '\n';
    log_queue_put(log_queue_log, line, len + 1);
    mem_free(line);
}

/* ---- the descriptor ---- */

/* Opening a FIFO without a reader would wait, so it is opened for reading as well then. */
static int open_path(const char *path) {
    int flags = O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = open(path, O_WRONLY | flags, 0640);
    return fd < 0 && errno == ENXIO ? open(path, O_RDWR | flags, 0640) : fd;
}

int log_open(const char *path) {
    int fd = open_path(path);
    if (fd < 0)
        return -errno;
    fd_ = fd;
    mem_free(path_);
    path_ = mem_strdup(path);
    log_queue_set_fd(log_queue_log, fd_, true, write_dropped);
    return 0;
}

int log_reopen(void) {
    if (path_ == NULL)
        return 0;
    int fd = open_path(path_);
    if (fd < 0)
        return -errno;
    int result = dup3(fd, fd_, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    if (result == 0)
        log_queue_set_fd(log_queue_log, fd_, true, write_dropped);
    return result;
}

/* A terminal or a pipe can be opened once more, and no other process shares that descriptor. A file
 * cannot (its position is shared), nor can a socket. */
static int open_anew(int fd) {
    char path[32];
    struct stat info;
    if (fstat(fd, &info) != 0 || !(S_ISFIFO(info.st_mode) || isatty(fd)))
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

void log_open_stderr(void) {
    if (is_auto && isatty(STDERR_FILENO))
        format_ = LOG_PRETTY;
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    pretty_.has_colour = isatty(STDERR_FILENO) && (no_colour == NULL || *no_colour == '\0') &&
                         terminal != NULL && *terminal != '\0' && strcmp(terminal, "dumb") != 0;
    int own = open_anew(STDERR_FILENO);
    fd_ = own < 0 ? STDERR_FILENO : own;
    log_queue_set_fd(log_queue_log, fd_, own >= 0, write_dropped);
}

/* log_queue_dropped_fn: the log writes no lines into the output of scripts. */
static size_t write_output_dropped(char *bytes, size_t size, uint64_t dropped, int error) {
    struct log_line line;
    log_begin(&line, own_level(LOG_WARN), "output_dropped");
    log_int(&line, "lines", (int64_t)dropped);
    log_str(&line, "why",
            error == 0 ? "the reader of the standard output is too slow" : strerror(error));
    log_end(&line);
    return 0;
}

void log_open_output(void) {
    int own = open_anew(STDOUT_FILENO);
    log_queue_set_fd(log_queue_output, own < 0 ? STDOUT_FILENO : own, own >= 0,
                     write_output_dropped);
}

void log_output(const char *bytes, size_t len) {
    enum { PIECE = LOG_QUEUE_BYTES / 4 };
    for (size_t at = 0; at < len; at += PIECE)
        log_queue_put(log_queue_output, bytes + at, len - at < PIECE ? len - at : PIECE);
}

bool log_flush(void) {
    /* the output first: it may cause a line about dropped output */
    bool output = log_queue_flush(log_queue_output, FLUSH_MS);
    log_all_suppressed(true);
    return log_queue_flush(log_queue_log, FLUSH_MS) && output;
}
