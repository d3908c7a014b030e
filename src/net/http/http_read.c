/* http_read.c -- the request of one conversation, as it arrives. See http.h.
 *
 * Head and body have memory of their own: the head's slices point into it from the moment on when
 * it is whole, so it is judged once, by the limits in force when its connection was accepted, and
 * never moves. */
#include "net/http/http_parts.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/http/handshake.h"

#include <string.h>

void http_forget_request(struct http *http) {
    struct admission *admission = http->server->options.admission;
    if (admission != NULL)
        limit_release_bytes(&admission->uploads, admission_uploads_of(&http->permit),
                            http->body_capacity);
    mem_free(http->head);
    mem_free(http->body);
    http->head = http->body = NULL;
    http->head_capacity = http->body_capacity = 0;
}

/* "OPTIONS *": of the server as a whole, so no route is asked (RFC 9110 section 9.3.7). */
static void answer_options(struct http *http) {
    http_respond(http, 200, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n", NULL, 0);
}

/* `ahead` are bytes that came behind the request. */
static void hand_over(struct http *http, char *ahead, size_t ahead_len) {
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

/* Makes room for `more` bytes of the body. False, and answered: too much is held already. */
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

/* Takes the chunks off the last `len` bytes of the body's memory. */
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

/* Takes bytes of the body. True: it is whole. Answers when it is refused. */
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

/* The socket is there only to be told that it is too many. */
static void refuse_socket(struct http *http) {
    bool full = http->admitted == ADMISSION_SERVER_FULL;
    http_refuse_by_limit(http, &http->server->stats->connections_refused, full,
                         full ? "The server is full." : "Too many connections from this address.");
}

/* The head is whole; `rest` is what came behind it. */
static void on_head(struct http *http, char *rest, size_t len) {
    const struct request *r = &http->request;
    if (http->admitted != ADMISSION_GRANTED) {
        refuse_socket(http);
        return;
    }
    if (http->wants_tls && !stream_is_secure(http->stream)) {
        http_refuse(http, 400, "TLS is spoken here: write https:// or wss:// in the address.");
        return;
    }
    if (handshake_wanted(r)) {
        hand_over(http, rest, len);
        return;
    }
    if (r->content_length <= 0 && !r->chunked) {
        hand_over(http, NULL, 0);
        return;
    }
    if (r->content_length > (int64_t)http->max_body_bytes) {
        http_refuse(http, 413, "The body is too large.");
        return;
    }
    if (r->expect_continue && len == 0)
        http_continue(http);
    if (take_body(http, rest, len))
        hand_over(http, NULL, 0);
}

/* Adds to the head what it may still have. */
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
        return; /* a second request, or noise: we answer one */
    if (http->head_whole) {
        if (take_body(http, bytes, len))
            hand_over(http, NULL, 0);
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
