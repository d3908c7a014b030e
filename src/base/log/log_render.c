/* log_render.c -- from the fields of one event to the bytes of its line. See log_render.h. */
#include "base/log/log_render.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

const char *const log_level_names[] = {"debug", "info", "warn", "error"};

/* Room for the mark of a cut value, and for the end of a line. */
enum { MARK_ROOM = 40, END_ROOM = 64 };

/* ---- bytes ---- */

void log_out_add(struct log_out *out, const char *bytes, size_t len) {
    size_t room = sizeof out->bytes - 1 - out->used; /* a byte for the end of the line */
    if (len > room)
        len = room;
    memcpy(out->bytes + out->used, bytes, len);
    out->used += len;
}

void log_out_text(struct log_out *out, const char *text) {
    log_out_add(out, text, strlen(text));
}

bool log_out_has_room(const struct log_out *out) {
    return out->used + LOG_KEY_MAX + MARK_ROOM + END_ROOM + 16 <= sizeof out->bytes;
}

/* ---- escaping ---- */

enum { ESCAPE_ROOM = 16 };

/* Writes the first character of `len` bytes as in a JSON string; *consumed is its length in `p`. A
 * byte that is no UTF-8 becomes the text \xNN, so that a line is always UTF-8. Returns the length
 * in `out`. */
static size_t escape(const char *p, size_t len, bool quoted, char text[ESCAPE_ROOM],
                     size_t *consumed) {
    unsigned char c = (unsigned char)*p;
    *consumed = utf8_sequence(p, len);
    if (*consumed == 0) {
        *consumed = 1;
        return (size_t)snprintf(text, ESCAPE_ROOM, quoted ? "\\\\x%02x" : "\\x%02x", c);
    }
    static const char plain[] = "\nn\tt\rr\"\"\\\\";
    for (const char *pair = plain; c < 0x80 && *pair != '\0'; pair += 2)
        if (c == (unsigned char)*pair && (quoted || c < ' '))
            return (size_t)snprintf(text, ESCAPE_ROOM, "\\%c", pair[1]);
    uint32_t code = utf8_character(p, *consumed);
    if (!utf8_is_unsafe(code)) {
        memcpy(text, p, *consumed);
        return *consumed;
    }
    if (code < 0x10000)
        return (size_t)snprintf(text, ESCAPE_ROOM, "\\u%04x", (unsigned)code);
    code -= 0x10000; /* as in JSON: two surrogates */
    return (size_t)snprintf(text, ESCAPE_ROOM, "\\u%04x\\u%04x", 0xd800 + (unsigned)(code >> 10),
                            0xdc00 + (unsigned)(code & 0x3ff));
}

void log_out_escaped(struct log_out *out, const struct log_field *field) {
    size_t end = sizeof out->bytes - END_ROOM - MARK_ROOM;
    size_t most = out->for_people ? LOG_PEOPLE_MAX : LOG_VALUE_MAX;
    if (end > out->used + most)
        end = out->used + most;
    size_t at = 0, consumed;
    while (at < field->len) {
        char text[ESCAPE_ROOM];
        size_t len = escape(field->value + at, field->len - at, !out->for_people, text, &consumed);
        if (out->used + len > end)
            break;
        log_out_add(out, text, len);
        at += consumed;
    }
    size_t rest = field->len - at + field->cut;
    char mark[MARK_ROOM];
    if (rest > 0)
        log_out_add(out, mark,
                    (size_t)snprintf(mark, sizeof mark, "\xe2\x80\xa6(+%zu bytes)", rest));
}

/* ---- fields ---- */

bool log_field_is(const struct log_field *field, const char *key) {
    return field->key_len == strlen(key) && memcmp(field->key, key, field->key_len) == 0;
}

bool log_find_field(const struct log_line *line, const char *key, struct log_field *field) {
    for (size_t at = 0; log_next_field(line, &at, field);)
        if (log_field_is(field, key))
            return true;
    return false;
}

bool log_next_line(const struct log_field *field, size_t *at, struct log_field *line) {
    if (*at >= field->len)
        return false;
    const char *start = field->value + *at, *end = memchr(start, '\n', field->len - *at);
    *line = *field;
    line->value = start;
    line->len = end == NULL ? field->len - *at : (size_t)(end - start);
    line->cut = end == NULL ? field->cut : 0;
    *at += line->len + 1;
    return true;
}

/* Does it need no quotes? */
static bool is_plain(const struct log_field *field) {
    for (size_t at = 0, len; at < field->len; at += len) {
        const char *p = field->value + at;
        len = utf8_sequence(p, field->len - at);
        if (len == 0 || strchr(" \"\\=", *p) != NULL || utf8_is_unsafe(utf8_character(p, len)))
            return false;
    }
    return field->len > 0 && field->cut == 0;
}

static bool is_for_people(const struct log_field *field) {
    return field->kind == LOG_PATH || field->kind == LOG_SOURCE;
}

/* The frames of a traceback in one line. */
static void add_frames(struct log_out *out, const struct log_field *field) {
    struct log_field frame;
    for (size_t at = 0; log_next_line(field, &at, &frame);) {
        if (frame.value != field->value)
            log_out_text(out, " < ");
        log_out_escaped(out, &frame);
        if (!log_out_has_room(out))
            return;
    }
}

static void add_value(struct log_out *out, const struct log_field *field, bool quoted) {
    if (field->kind == LOG_WORD) {
        log_out_add(out, field->value, field->len);
        return;
    }
    if (quoted)
        log_out_text(out, "\"");
    if (field->kind == LOG_FRAMES)
        add_frames(out, field);
    else
        log_out_escaped(out, field);
    if (quoted)
        log_out_text(out, "\"");
}

static void add_number(struct log_out *out, const char *before, long number) {
    char text[32];
    log_out_text(out, before);
    log_out_add(out, text, (size_t)snprintf(text, sizeof text, "%ld", number));
}

static void add_time(struct log_out *out, const struct timespec *time) {
    struct tm tm;
    char text[48];
    gmtime_r(&time->tv_sec, &tm);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(text + n, sizeof text - n, ".%03dZ", (int)(time->tv_nsec / 1000000));
    log_out_add(out, text, n);
}

/* ---- lines ---- */

/* The next field for programs that fits; counts one that does not fit. */
static bool next_field(const struct log_line *line, size_t *at, const struct log_out *out,
                       unsigned *left_out, struct log_field *field) {
    while (log_next_field(line, at, field)) {
        if (is_for_people(field))
            continue;
        if (log_out_has_room(out))
            return true;
        ++*left_out;
    }
    return false;
}

void log_render_text(const struct log_line *line, struct log_out *out) {
    unsigned left_out = line->left_out;
    add_time(out, &line->time);
    log_out_text(out, " ");
    log_out_text(out, log_level_names[line->level]);
    if (line->worker >= 0)
        add_number(out, " worker=", line->worker);
    log_out_text(out, " event=");
    log_out_text(out, line->event);
    struct log_field field;
    for (size_t at = 0; next_field(line, &at, out, &left_out, &field);) {
        log_out_text(out, " ");
        log_out_add(out, field.key, field.key_len);
        log_out_text(out, "=");
        add_value(out, &field, !is_plain(&field));
    }
    if (left_out > 0)
        add_number(out, " left_out=", left_out);
    out->bytes[out->used++] = '\n';
}

void log_render_json(const struct log_line *line, struct log_out *out) {
    unsigned left_out = line->left_out;
    log_out_text(out, "{\"time\":\"");
    add_time(out, &line->time);
    log_out_text(out, "\",\"level\":\"");
    log_out_text(out, log_level_names[line->level]);
    log_out_text(out, "\"");
    if (line->worker >= 0)
        add_number(out, ",\"worker\":", line->worker);
    log_out_text(out, ",\"event\":\"");
    log_out_text(out, line->event);
    log_out_text(out, "\"");
    struct log_field field;
    for (size_t at = 0; next_field(line, &at, out, &left_out, &field);) {
        struct log_field key = {.value = field.key, .len = field.key_len};
        log_out_text(out, ",\"");
        log_out_escaped(out, &key);
        log_out_text(out, "\":");
        add_value(out, &field, true);
    }
    if (left_out > 0)
        add_number(out, ",\"left_out\":", left_out);
    log_out_text(out, "}");
    out->bytes[out->used++] = '\n';
}
