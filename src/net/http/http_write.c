/* http_write.c -- writes a response as the socket takes it. See http.h. */
#include "net/http/http_parts.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "net/http/date.h"
#include "net/http/preconditions.h"
#include "net/http/response.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HEAD_ROOM = 16 * 1024, FILE_PIECE = 64 * 1024, REFUSAL_ROOM = 512 };

/* Bytes that one client gets in one turn of the loop at most. */
enum { TURN_BYTES = 128 * 1024 };

/* Bytes of a body up to which a response is not counted: the socket takes it at once, unless the
 * client has shut its window before. */
enum { SMALL_BYTES = 4096 };

/* Milliseconds for the client to close after its response. */
enum { ENDING_MS = 2000 };

void http_free_response(struct http *http) {
    struct admission *admission = http->server->options.admission;
    if (admission != NULL)
        limit_release_bytes(&admission->responses, admission_responses_of(&http->permit),
                            http->held);
    http->held = 0;
    mem_free(http->out);
    http->out = NULL;
    http->out_len = http->out_sent = 0;
}

static void finish(struct http *http) {
    http_free_response(http);
    if (http_keep(http))
        return;
    http->state = HTTP_ENDING;
    stream_shutdown(http->stream);
    http_deadline_in(http, ENDING_MS);
}

/* Writes at most `most` bytes: of `out`, then of the file. Returns how many the socket took: less
 * than `*tried` when it is full. */
static size_t write_piece(struct http *http, size_t most, size_t *tried) {
    size_t rest = http->out_len - http->out_sent;
    if (rest > 0) {
        *tried = rest < most ? rest : most;
        size_t n = stream_write(http->stream, http->out + http->out_sent, *tried);
        http->out_sent += n;
        return n;
    }
    http_free_response(http); /* `out` is written */
    struct static_file *file = &http->file;
    char *piece = http->server->piece;
    if (most > FILE_PIECE)
        most = FILE_PIECE;
    if ((off_t)most > file->length)
        most = (size_t)file->length;
    if (piece == NULL)
        piece = http->server->piece = mem_alloc(FILE_PIECE);
    ssize_t got = pread(file->fd, piece, most, file->offset);
    *tried = most;
    if (got <= 0) { /* the file has shrunk: the promised length cannot be kept */
        stream_kill(http->stream);
        return 0;
    }
    *tried = (size_t)got;
    size_t n = stream_write(http->stream, piece, (size_t)got);
    file->offset += (off_t)n;
    file->length -= (off_t)n;
    return n;
}

static bool is_all_written(const struct http *http) {
    return http->out_sent == http->out_len && (http->file.fd < 0 || http->file.length == 0);
}

/* A fast client's socket may never be full, so the bytes of one turn are limited. */
void http_write(struct http *http) {
    size_t left = TURN_BYTES, n, tried;
    bool full = false;
    while (!full && left > 0 && !is_all_written(http)) {
        n = write_piece(http, left, &tried);
        full = n < tried;
        left -= n;
        http->sent += n;
    }
    if (!is_all_written(http) || (http->state == HTTP_WRITING && !stream_is_flushed(http->stream)))
        stream_want_write(http->stream);
    else if (http->state == HTTP_WRITING)
        finish(http);
}

/* Bytes of all responses that the client has taken. */
static uint64_t taken_bytes(const struct http *http) {
    uint64_t unacked = stream_unacked_bytes(http->stream);
    return http->sent > unacked ? http->sent - unacked : 0;
}

/* Begins a period in which the client must take enough; `taken` is what it has taken before. */
static void watch_reader(struct http *http, uint64_t taken) {
    http->check_ms = uv_now(http->server->loop);
    http->check_taken = taken;
    http_deadline_in(http, http->server->options.send_ms + 1); /* not within the same tick */
}

bool http_is_slow(struct http *http) {
    const struct http_options *options = &http->server->options;
    uint64_t ms = uv_now(http->server->loop) - http->check_ms, taken = taken_bytes(http);
    uint64_t least = options->min_send_rate * ms / 1000;
    if (taken > http->check_taken && taken - http->check_taken >= least) {
        watch_reader(http, taken);
        return false;
    }
    stats_add(&http->server->stats->slow_readers, 1);
    http_log_end(http, "the client reads its response too slowly");
    stream_reset(http->stream);
    return true;
}

void http_send_continue(struct http *http) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    http->out = mem_strndup(go_on, sizeof go_on - 1);
    http->out_len = sizeof go_on - 1;
    http->out_sent = 0;
    http_write(http);
}

/* Makes room for a response of `size` bytes, behind the bytes of "100 Continue" that the socket has
 * not taken. Returns where it begins. */
static char *begin_response(struct http *http, size_t size) {
    size_t waits = http->out_len - http->out_sent;
    char *out = mem_alloc(waits + size);
    if (waits > 0)
        memcpy(out, http->out + http->out_sent, waits);
    mem_free(http->out);
    http->out = out;
    http->out_len = waits;
    http->out_sent = 0;
    return out + waits;
}

/* Writes the response in `out`, and the file that follows it. */
static void start_writing(struct http *http, int status) {
    http->state = HTTP_WRITING;
    http_log(http, status);
    http->why = http->reason = NULL;
    http_free_request(http);
    http_write(http);
    if (http->state == HTTP_WRITING)
        watch_reader(http, taken_bytes(http));
}

/* Takes a line off the front of `lines`. False: there is none. */
static bool next_line(const char **lines, struct slice *name, struct slice *value) {
    if (*lines == NULL || **lines == '\0')
        return false;
    const char *end = strstr(*lines, "\r\n");
    size_t len = end == NULL ? strlen(*lines) : (size_t)(end - *lines);
    const char *colon = memchr(*lines, ':', len);
    *name = (struct slice){*lines, colon == NULL ? len : (size_t)(colon - *lines)};
    *value = (struct slice){*lines + len, 0};
    if (colon != NULL) {
        const char *start = colon + 1;
        while (start < *lines + len && *start == ' ')
            start++;
        *value = (struct slice){start, (size_t)(*lines + len - start)};
    }
    *lines = end == NULL ? *lines + len : end + 2;
    return true;
}

/* Adds header lines one by one, so that a bad one does not spoil the others. */
static void add_lines(struct response *res, const char *lines, bool *has_type) {
    struct slice name, value;
    while (next_line(&lines, &name, &value)) {
        if (slice_is_nocase(name, "content-type"))
            *has_type = true;
        if (!response_add(res, name, value)) {
            struct log_line line;
            log_begin_limited(&line, LOG_WARN, "bad_response_header");
            log_bytes(&line, "header", name.bytes, name.len);
            log_str(&line, "why", res->error);
            log_end(&line);
            response_forgive(res);
        }
    }
}

/* Has the client this response already, by the ETag or Last-Modified that a script gives it? */
static bool has_response(const struct http *http, int status, const char *lines) {
    enum { ETAG_ROOM = 256 };
    char etag[ETAG_ROOM] = "";
    time_t modified = 0;
    bool has_date = false;
    struct slice name, value;
    if (status != 200 || lines == NULL ||
        (!slice_is(http->request->method, "GET") && !slice_is(http->request->method, "HEAD")))
        return false;
    while (next_line(&lines, &name, &value)) {
        if (slice_is_nocase(name, "last-modified"))
            has_date = date_parse(value, &modified);
        if (!slice_is_nocase(name, "etag") || value.len >= ETAG_ROOM)
            continue;
        if (value.len > 2 && memcmp(value.bytes, "W/", 2) == 0)
            slice_skip(&value, 2);
        snprintf(etag, sizeof etag, "%.*s", (int)value.len, value.bytes);
    }
    if (!has_date && etag[0] == '\0')
        return false;
    if (!has_date) /* later than any date of a request */
        modified = DATE_LAST;
    return preconditions_not_modified(http->request, etag, modified);
}

/* Counts the memory of a large response, which waits for its client. False: over a limit, and
 * answered. */
static bool reserve(struct http *http, size_t bytes) {
    struct admission *admission = http->server->options.admission;
    if (admission == NULL || bytes <= SMALL_BYTES)
        return true;
    enum limit_result result =
        limit_take_bytes(&admission->responses, admission_responses_of(&http->permit), bytes);
    if (result == LIMIT_TAKEN) {
        http->held = bytes;
        return true;
    }
    bool full = result == LIMIT_FULL;
    http_set_reason(http, full ? "response_backlog" : "response_backlog_per_address");
    http_refuse_by_limit(http, &http->server->stats->requests_refused, full,
                         full ? "Too many responses wait for their clients."
                              : "Too many responses wait for clients at this address.");
    return false;
}

void http_respond(struct http *http, int status, const char *headers, const char *body,
                  size_t len) {
    if (http->state > HTTP_WAITING)
        return; /* it has a response */
    if (has_response(http, status, headers))
        status = 304;
    if (!response_has_content(status))
        len = 0;
    if (!http->head_only && !reserve(http, len))
        return;
    size_t room = HEAD_ROOM + (headers == NULL ? 0 : strlen(headers));
    char *out = begin_response(http, room + len);
    struct response res;
    bool has_type = false;
    response_begin(&res, out, room, status, time(NULL));
    add_lines(&res, headers, &has_type);
    if (!has_type && len > 0)
        response_set(&res, "Content-Type", "text/plain; charset=utf-8");
    size_t head = response_end(&res, (int64_t)len, http_keep_seconds(http));
    if (!http->head_only && len > 0) {
        memcpy(out + head, body, len);
        head += len;
    }
    http->out_len += head;
    start_writing(http, status);
}

void http_note_refusal(struct http *http, const char *why) {
    http->why = why;
}

void http_set_reason(struct http *http, const char *reason) {
    http->reason = reason;
}

void http_respond_text(struct http *http, int status, const char *headers, const char *text) {
    char body[512];
    int len = snprintf(body, sizeof body, "%s\n", text);
    http_respond(http, status, headers, body,
                 (size_t)len < sizeof body ? (size_t)len : sizeof body - 1);
}

void http_respond_refusal(struct http *http, int status, const char *headers, const char *why) {
    char body[REFUSAL_ROOM], lines[512];
    size_t len = response_refusal(body, sizeof body, status, why);
    snprintf(lines, sizeof lines, RESPONSE_JSON "%s", headers == NULL ? "" : headers);
    http_note_refusal(http, why);
    http_respond(http, status, lines, body, len);
}

/* Writes the body that replaces a file: a refusal, or the text of a redirect. Returns its length;
 * 0: the file is sent. */
static size_t text_of_file(const struct static_file *file, char *text, size_t size) {
    if (file->text[0] == '\0')
        return 0;
    return file->status >= 400 ? response_refusal(text, size, file->status, file->text)
                               : (size_t)snprintf(text, size, "%s\n", file->text);
}

int http_respond_file(struct http *http, const char *folder, const char *path) {
    if (http->state > HTTP_WAITING)
        return -1;
    /* the script may answer late; the request's slices are valid until now */
    static_find(folder, http->request, slice_of(path), &http->file);
    char *out = begin_response(http, HEAD_ROOM);
    struct response res;
    response_begin(&res, out, HEAD_ROOM, http->file.status, time(NULL));
    static_headers(&http->file, &res);
    char text[REFUSAL_ROOM];
    size_t text_len = text_of_file(&http->file, text, sizeof text);
    if (text_len > 0)
        response_set(&res, "Content-Type",
                     http->file.status >= 400 ? "application/json" : "text/plain; charset=utf-8");
    size_t head = response_end(&res, text_len > 0 ? (int64_t)text_len : http->file.length,
                               http_keep_seconds(http));
    if (http->head_only)
        http->file.length = 0;
    else if (text_len > 0)
        memcpy(out + head, text, text_len);
    if (!http->head_only)
        head += text_len;
    http->out_len += head;
    int folder_errno = http->file.folder_errno;
    if (http->file.status >= 400)
        http_note_refusal(http, http->file.text);
    start_writing(http, http->file.status);
    return folder_errno;
}

static void refuse_with(struct http *http, int status, const char *headers, const char *text) {
    http->head_only = http->head_whole && slice_is(http->request->method, "HEAD");
    http_respond_refusal(http, status, headers, text);
}

/* What follows on the connection may be the rest of this request. */
void http_refuse(struct http *http, int status, const char *text) {
    http->keeps = false;
    refuse_with(http, status, NULL, text);
}

void http_refuse_by_rate(struct http *http, _Atomic uint64_t *counter, uint64_t wait_ms,
                         const char *why) {
    char headers[48];
    snprintf(headers, sizeof headers, "Retry-After: %" PRIu64 "\r\n", (wait_ms + 999) / 1000);
    stats_add(counter, 1);
    refuse_with(http, 429, headers, why);
}

void http_refuse_by_limit(struct http *http, _Atomic uint64_t *counter, bool full,
                          const char *why) {
    http->keeps = false;
    stats_add(counter, 1);
    refuse_with(http, full ? 503 : 429, "Retry-After: 5\r\n", why);
}
