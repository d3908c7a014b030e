/* log.c -- one event a line, as text or JSON. See log.h.
 *
 * Level, format and file are set by main before threads start; the file descriptor keeps its number
 * when the file is opened again (dup2), so writers never see a closed one. */
#include "base/log.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level threshold = LOG_INFO;
static enum log_format format_ = LOG_TEXT;
static int fd_ = STDERR_FILENO;
static char *path_;
static _Thread_local int worker_ = -1;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level) {
    threshold = level;
}

void log_set_format(enum log_format format) {
    format_ = format;
}

void log_set_worker(int worker) {
    worker_ = worker;
}

bool log_level_parse(const char *text, enum log_level *level) {
    for (int i = 0; i < 4; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

static int open_path(const char *path) {
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

int log_open(const char *path) {
    int fd = open_path(path);
    if (fd < 0)
        return -errno;
    fd_ = fd;
    mem_free(path_);
    path_ = mem_strdup(path);
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
    return result;
}

bool log_enabled(enum log_level level) {
    return level >= threshold;
}

/* ---- bytes of a line ---- */

static void add(struct log_line *line, const char *bytes, size_t len) {
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

static void add_text(struct log_line *line, const char *text) {
    add(line, text, strlen(text));
}

/* What is not UTF-8 is shown byte by byte: a line of JSON stays one. */
static void add_escaped(struct log_line *line, const char *value, size_t len) {
    bool valid = utf8_valid(value, len);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        char escape[8];
        if (c == '"' || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", c);
        else if (c == '\n')
            snprintf(escape, sizeof escape, "\\n");
        else if (c == '\t')
            snprintf(escape, sizeof escape, "\\t");
        else if (c == '\r')
            snprintf(escape, sizeof escape, "\\r");
        else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !valid))
            snprintf(escape, sizeof escape, "\\u%04x", c);
        else
            escape[0] = (char)c, escape[1] = '\0';
        add_text(line, escape);
    }
}

static bool plain(const char *value, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c == 0x7f)
            return false;
    }
    return len > 0;
}

static void add_key(struct log_line *line, const char *key) {
    if (format_ == LOG_JSON) {
        add_text(line, ",\"");
        add_escaped(line, key, strlen(key));
        add_text(line, "\":");
    } else {
        add_text(line, " ");
        add_text(line, key);
        add_text(line, "=");
    }
}

static void add_time(struct log_line *line) {
    struct timespec now;
    struct tm tm;
    char text[48];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%03dZ", (int)(now.tv_nsec / 1000000));
    add_text(line, text);
}

/* ---- lines ---- */

void log_begin(struct log_line *line, enum log_level level, const char *event) {
    line->wanted = log_enabled(level);
    if (!line->wanted)
        return;
    line->used = 0;
    line->capacity = sizeof line->fixed;
    line->bytes = line->fixed;
    if (format_ == LOG_JSON) {
        add_text(line, "{\"time\":\"");
        add_time(line);
        add_text(line, "\",\"level\":\"");
        add_text(line, level_names[level]);
        add_text(line, "\"");
    } else {
        add_time(line);
        add_text(line, " ");
        add_text(line, level_names[level]);
    }
    if (worker_ >= 0)
        log_int(line, "worker", worker_);
    log_str(line, "event", event);
}

void log_bytes(struct log_line *line, const char *key, const char *value, size_t len) {
    if (!line->wanted)
        return;
    add_key(line, key);
    if (format_ == LOG_TEXT && plain(value, len)) {
        add(line, value, len);
        return;
    }
    add_text(line, "\"");
    add_escaped(line, value, len);
    add_text(line, "\"");
}

void log_str(struct log_line *line, const char *key, const char *value) {
    log_bytes(line, key, value == NULL ? "" : value, value == NULL ? 0 : strlen(value));
}

void log_int(struct log_line *line, const char *key, int64_t value) {
    if (!line->wanted)
        return;
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    add_key(line, key);
    add_text(line, text);
}

void log_num(struct log_line *line, const char *key, double value) {
    if (!line->wanted)
        return;
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    if (format_ == LOG_JSON && !(value - value == 0)) /* not finite: JSON has no word for it */
        snprintf(text, sizeof text, "null");
    add_key(line, key);
    add_text(line, text);
}

void log_bool(struct log_line *line, const char *key, bool value) {
    if (!line->wanted)
        return;
    add_key(line, key);
    add_text(line, value ? "true" : "false");
}

void log_conn(struct log_line *line, uint64_t conn) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIx64, conn);
    log_str(line, "conn", text);
}

void log_end(struct log_line *line) {
    if (!line->wanted)
        return;
    add_text(line, format_ == LOG_JSON ? "}\n" : "\n");
    size_t done = 0;
    while (done < line->used) {
        ssize_t n = write(fd_, line->bytes + done, line->used - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* nowhere to report that the log is full */
        done += (size_t)n;
    }
    if (line->bytes != line->fixed)
        mem_free(line->bytes);
    line->wanted = false;
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
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_event(level, event, text);
}
