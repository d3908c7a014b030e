/* http_log.c -- the log line of a request: its response, or its refusal and the reason. See http.h.
 *
 * Logs the path and never the query, which may hold a secret. */
#include "net/http/http_parts.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "net/http/response.h"

/* Finds the method and the path, without its query, in the bytes of a head that is not whole. Empty
 * where they are none. */
static struct slice find_path(const struct http *http, struct slice *method) {
    const char *p = http->head, *end = p == NULL ? p : p + http->head_used, *start = p;
    while (p < end && *p >= 'A' && *p <= 'Z')
        p++;
    *method = (struct slice){start, (size_t)(p - start)};
    if (p == start || p >= end || *p != ' ')
        return *method = (struct slice){0};
    start = ++p;
    while (p < end && (unsigned char)*p > ' ' && *p != '?' && *p != '#')
        p++;
    return (struct slice){start, (size_t)(p - start)};
}

static struct slice path_of(const struct http *http, struct slice *method) {
    if (!http->head_whole)
        return find_path(http, method);
    *method = http->request->method;
    return http->request->path;
}

static void add_request(struct log_line *line, const struct http *http) {
    struct slice method, path = path_of(http, &method);
    log_str(line, "remote", http->remote);
    if (path.len == 0)
        return;
    log_bytes(line, "method", method.bytes, method.len);
    log_bytes(line, "path", path.bytes, path.len);
}

static void count_refusal(const struct http *http, int status) {
    struct slice method, path = path_of(http, &method);
    refusals_count_path(http->server->options.refusals, (unsigned)status,
                        http->reason != NULL ? http->reason : response_reason(status), path);
}

void http_log(const struct http *http, int status) {
    bool refused = http->why != NULL;
    if (refused || http->reason != NULL)
        count_refusal(http, status);
    enum log_level level = refused ? log_refusal_level() : LOG_DEBUG;
    if (!log_enabled(level))
        return;
    struct log_line line;
    log_begin_limited(&line, level, refused ? "refused" : "request");
    add_request(&line, http);
    log_int(&line, "status", status);
    if (refused)
        log_str(&line, "why", http->why);
    else
        log_seconds(&line, "seconds", (double)(clock_monotonic_ns() - http->began_ns) / 1e9);
    log_end(&line);
}

void http_log_end(const struct http *http, const char *why) {
    refusals_count(http->server->options.refusals, REFUSAL_REQUEST, 0,
                   http->reason != NULL ? http->reason : why, NULL);
    enum log_level level = log_refusal_level();
    if (!log_enabled(level))
        return;
    struct log_line line;
    log_begin_limited(&line, level, "refused");
    log_str(&line, "remote", http->remote);
    log_str(&line, "why", why);
    log_end(&line);
}
