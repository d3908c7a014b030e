/* http_read.c -- reads the request of an exchange as it arrives. See http.h.
 *
 * Head and body have memory of their own. Once the head is whole it does not move, because the
 * request's slices point into it. It is checked once, against the limits of when its connection was
 * accepted. A header in which a trusted proxy names the client belongs into on_head(), which would
 * set http->remote by it. */
#include "net/http/http_parts.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/http/handshake.h"

#include <string.h>

void http_free_request(struct http *http) {
    struct admission *admission = http->server->options.admission;
    if (admission != NULL)
        limit_release_bytes(&admission->uploads, admission_uploads_of(&http->permit),
                            http->body_capacity);
    mem_free(http->head);
    mem_free(http->body);
    http->head = http->body = NULL;
    http->head_capacity = http->body_capacity = 0;
}

/* "OPTIONS *" is about the server as a whole, not about a route (RFC 9110 section 9.3.7). */
static void answer_options(struct http *http) {
    http_respond(http, 200, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n", NULL, 0);
}

/* Passes the request to its handler; `ahead` are the bytes behind it. */
static void call_handler(struct http *http, char *ahead, size_t ahead_len) {
    const struct http_server *server = http->server;
    http->state = HTTP_WAITING;
    http->head_only = slice_is(http->request.method, "HEAD");
    http_no_deadline(http);
    if (slice_is(http->request.path, "*"))
        answer_options(http);
    else if (!handshake_wanted(&http->request))
        server->on_request(server->on_request_user, http, &http->request, http->body,
                           http->body_len);
    else if (server->on_handshake != NULL)
        server->on_handshake(server->on_handshake_user, http, &http->request, ahead, ahead_len);
    else
        http_refuse(http, 404, "There is no WebSocket here.");
}

/* ---- the body ---- */

static void refuse_upload(struct http *http, enum limit_result result) {
    bool full = result == LIMIT_FULL;
    http_refuse_by_limit(http, &http->server->stats->requests_refused, full,
                         full ? "The server is busy with other uploads."
                              : "Too many uploads are under way from this address.");
}

/* Makes room for `more` bytes of the body. False: over a limit, and answered. */
static bool reserve(struct http *http, size_t more) {
    if (http->body_len + more <= http->body_capacity)
        return true;
    size_t wanted = (http->body_len + more) * 2;
    int64_t known = http->request.content_length;
    if (known >= 0 && wanted > (size_t)known)
        wanted = (size_t)known;
    size_t growth = wanted - http->body_capacity;
    struct admission *admission = http->server->options.admission;
    enum limit_result result = LIMIT_TAKEN;
    if (admission != NULL)
        result = limit_take_bytes(&admission->uploads, admission_uploads_of(&http->permit), growth);
    if (result != LIMIT_TAKEN) {
        refuse_upload(http, result);
        return false;
    }
    http->body_capacity = wanted;
    http->body = mem_realloc(http->body, wanted);
    return true;
}

/* Decodes the last `len` bytes of the body, which are chunks. True: it is whole. Answers when it
 * refuses the body. */
static bool decode(struct http *http, size_t len) {
    size_t decoded, used;
    int end = chunked_decode(&http->chunks, http->body + http->body_len, len, http->max_body_bytes,
                             &decoded, &used);
    if (end < 0) {
        http_refuse(http, -end, http->chunks.error);
        return false;
    }
    http->body_len += decoded;
    return end == 1;
}

/* Takes bytes of the body. True: it is whole. Answers when it refuses the body. */
static bool take_body(struct http *http, const char *bytes, size_t len) {
    int64_t known = http->request.content_length;
    if (known >= 0 && len > (size_t)known - http->body_len)
        len = (size_t)known - http->body_len;
    if (len == 0 || !reserve(http, len))
        return false;
    memcpy(http->body + http->body_len, bytes, len);
    if (known < 0)
        return decode(http, len);
    http->body_len += len;
    return http->body_len == (size_t)known;
}

/* ---- the head ---- */

/* The socket was accepted only to get this answer. */
static void refuse_socket(struct http *http) {
    bool full = http->admitted == ADMISSION_SERVER_FULL;
    http_refuse_by_limit(http, &http->server->stats->connections_refused, full,
                         full ? "The server is full." : "Too many connections from this address.");
}

/* The head is whole; `rest` are the bytes behind it. */
static void on_head(struct http *http, char *rest, size_t len) {
    const struct request *r = &http->request;
    if (http->admitted != ADMISSION_GRANTED) {
        refuse_socket(http);
        return;
    }
    if (http->wants_tls && !stream_is_secure(http->stream)) {
        http_refuse(http, 400, "This port needs TLS: use https:// or wss://.");
        return;
    }
    if (handshake_wanted(r)) {
        call_handler(http, rest, len);
        return;
    }
    if (r->content_length <= 0 && !r->chunked) {
        call_handler(http, NULL, 0);
        return;
    }
    if (r->content_length > (int64_t)http->max_body_bytes) {
        http_refuse(http, 413, "The body is too large.");
        return;
    }
    if (r->expect_continue && len == 0)
        http_send_continue(http);
    if (take_body(http, rest, len))
        call_handler(http, NULL, 0);
}

/* Adds bytes to the head, up to its limit. */
static void add_to_head(struct http *http, const char *bytes, size_t len) {
    if (len > http->max_head_bytes - http->head_used)
        len = http->max_head_bytes - http->head_used;
    size_t needed = http->head_used + len;
    if (needed > http->head_capacity) {
        http->head_capacity = needed * 2 < http->max_head_bytes ? needed * 2 : http->max_head_bytes;
        http->head = mem_realloc(http->head, http->head_capacity);
    }
    memcpy(http->head + http->head_used, bytes, len);
    http->head_used += len;
}

void http_read(struct http *http, char *bytes, size_t len) {
    if (http->began_ns == 0)
        http->began_ns = clock_monotonic_ns();
    if (http->state != HTTP_READING)
        return; /* one request each: what follows is ignored */
    if (http->head_whole) {
        if (take_body(http, bytes, len))
            call_handler(http, NULL, 0);
        return;
    }
    size_t before = http->head_used;
    add_to_head(http, bytes, len);
    int result = request_parse(&http->request, http->head, http->head_used, http->max_head_bytes);
    if (result < 0) {
        http_refuse(http, -result, http->request.error);
    } else if (result > 0) {
        size_t taken = (size_t)result - before;
        http->head_whole = true;
        on_head(http, bytes + taken, len - taken);
    }
}
