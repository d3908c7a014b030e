/* http_read.c -- reads a request as it arrives. See http.h.
 *
 * Head and body have memory of their own. Once the head is whole it does not move, because the
 * request's slices point into it. It is checked once, against the limits of when its connection was
 * accepted. http_peer.c finds the client that a trusted proxy names. */
#include "net/http/http_parts.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/http/handshake.h"
#include "net/socket/proxy_header.h"

#include <string.h>

void http_free_request(struct http *http) {
    struct admission *admission = http->server->options.admission;
    if (admission != NULL)
        limit_release_bytes(&admission->uploads, admission_uploads_of(&http->permit),
                            http->body_capacity);
    mem_free(http->head);
    mem_free(http->body);
    mem_free(http->request);
    http->head = http->body = NULL;
    http->request = NULL;
    http->head_used = http->head_capacity = http->body_len = http->body_capacity = 0;
    http->head_whole = false;
}

/* "OPTIONS *" is about the server as a whole, not about a route (RFC 9110 section 9.3.7). */
static void answer_options(struct http *http) {
    http_respond(http, 200, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n", NULL, 0);
}

/* The client's address sends faster than a rate allows, and may come again after `wait_ms`. */
static void refuse_fast(struct http *http, uint64_t wait_ms) {
    struct stats *stats = http->server->stats;
    bool connects = handshake_wanted(http->request);
    http_set_reason(http, connects ? "connection_rate" : "request_rate");
    if (connects)
        http_refuse_by_rate(http, &stats->connections_refused, wait_ms, HTTP_WHY_ADDRESS_FAST);
    else
        http_refuse_by_rate(http, &stats->requests_refused, wait_ms,
                            "Too many requests from this address.");
}

void http_call_handler(struct http *http, char *ahead, size_t ahead_len) {
    const struct http_server *server = http->server;
    const struct request *request = http->request;
    http->state = HTTP_WAITING;
    http->head_only = slice_is(request->method, "HEAD");
    http_set_handler_deadline(http);
    if (http->fast_ms > 0)
        refuse_fast(http, http->fast_ms);
    else if (slice_is(request->path, "*"))
        answer_options(http);
    else if (!handshake_wanted(request))
        server->on_request(server->on_request_user, http, request, http->body, http->body_len);
    else if (server->on_handshake != NULL)
        server->on_handshake(server->on_handshake_user, http, request, ahead, ahead_len);
    else
        http_refuse(http, 404, "There is no WebSocket here.");
}

/* ---- the body ---- */

void http_refuse_upload(struct http *http, enum limit_result result) {
    bool full = result == LIMIT_FULL;
    http_set_reason(http, full ? "upload_backlog" : "upload_backlog_per_address");
    http_refuse_by_limit(http, &http->server->stats->requests_refused, full,
                         full ? "The server is busy with other uploads."
                              : "Too many uploads are under way from this address.");
}

/* Makes room for `more` bytes of the body. False: over a limit, and answered. */
static bool reserve(struct http *http, size_t more) {
    if (http->body_len + more <= http->body_capacity)
        return true;
    size_t wanted = (http->body_len + more) * 2;
    int64_t known = http->request->content_length;
    if (known >= 0 && wanted > (size_t)known)
        wanted = (size_t)known;
    if (!mem_has(wanted)) {
        http_refuse_upload(http, LIMIT_FULL);
        return false;
    }
    size_t growth = wanted - http->body_capacity;
    struct admission *admission = http->server->options.admission;
    enum limit_result result = LIMIT_TAKEN;
    if (admission != NULL)
        result = limit_take_bytes(&admission->uploads, admission_uploads_of(&http->permit), growth);
    if (result != LIMIT_TAKEN) {
        http_refuse_upload(http, result);
        return false;
    }
    http->body_capacity = wanted;
    http->body = mem_realloc(http->body, wanted);
    return true;
}

/* Decodes the last `len` bytes of the body, which are chunks. Returns how many are the body's.
 * Answers when it refuses the body. */
static size_t decode(struct http *http, size_t len) {
    size_t decoded, used;
    int end = chunked_decode(&http->chunks, http->body + http->body_len, len, http->max_body_bytes,
                             &decoded, &used);
    if (end < 0) {
        http_refuse(http, -end, http->chunks.error);
        return 0;
    }
    http->body_len += decoded;
    if (end == 1)
        http->state = HTTP_WHOLE;
    return used;
}

/* Takes bytes of the body. Returns how many. Answers when it refuses the body. */
static size_t take_body(struct http *http, const char *bytes, size_t len) {
    int64_t known = http->request->content_length;
    if (known >= 0 && len > (size_t)known - http->body_len)
        len = (size_t)known - http->body_len;
    if (len == 0 || !reserve(http, len))
        return 0;
    memcpy(http->body + http->body_len, bytes, len);
    if (known < 0)
        return decode(http, len);
    http->body_len += len;
    if (http->body_len == (size_t)known)
        http->state = HTTP_WHOLE;
    return len;
}

/* ---- the head ---- */

/* The socket was accepted only to get this answer. */
static void refuse_socket(struct http *http) {
    bool full = http->admitted == ADMISSION_SERVER_FULL;
    bool fast = http->admitted == ADMISSION_ADDRESS_FAST;
    http->keeps = false;
    http_set_reason(http, fast ? "connection_rate" : full ? "connections" : "per_address");
    if (fast)
        http_refuse_by_rate(http, &http->server->stats->connections_refused, http->wait_ms,
                            HTTP_WHY_ADDRESS_FAST);
    else
        http_refuse_by_limit(http, &http->server->stats->connections_refused, full,
                             full ? "The server is full."
                                  : "Too many connections from this address.");
}

/* Asks limits.request_rate for plain requests, limits.connection_rate for handshakes through a
 * trusted proxy. Returns the milliseconds until the client's address may come again; 0: it may
 * now. */
static uint64_t take_rate(struct http *http) {
    struct admission *admission = http->server->options.admission;
    bool connects = handshake_wanted(http->request);
    if (admission == NULL || (connects && !http->rate_is_due))
        return 0;
    return ip_rates_take(admission->ip_rates, connects ? IP_RATE_CONNECTIONS : IP_RATE_REQUESTS,
                         http->remote, uv_now(http->server->loop));
}

/* Does the connection bring requests of other clients, a trusted proxy's, and is this one whole
 * with the `len` bytes behind its head? Then the connection outlives the refusal of this request.
 */
static bool outlives_refusal(const struct http *http, size_t len) {
    const struct request *r = http->request;
    return http->keeps && strcmp(http->remote, http->peer) != 0 && !r->chunked &&
           r->content_length <= (int64_t)len;
}

/* A place may be free that was not when the socket was accepted: a connection has become idle, or
 * has ended. */
static void admit_again(struct http *http) {
    const struct http_options *options = &http->server->options;
    bool is_proxy = trusted_proxies_has_peer(options->proxies, http->peer);
    const char *remote = is_proxy ? NULL : http->peer;
    struct permit permit;
    enum admission_result result = admission_take(options->admission, remote, &permit);
    if (result != ADMISSION_GRANTED && http->admitted == ADMISSION_SERVER_FULL &&
        handshake_wanted(http->request) && http->server->on_full != NULL) {
        http->place = http->server->on_full(http->server->on_full_user, http->request);
        if (http->place != NULL) {
            admission_release(options->admission, &permit);
            result = admission_take_again(options->admission, remote, &permit);
        }
    }
    if (result == ADMISSION_GRANTED) {
        struct permit refused = http->permit;
        http->permit = permit;
        permit = refused;
        http->admitted = result;
    }
    admission_release(options->admission, &permit);
}

/* The head is whole; `rest` are the bytes behind it. Returns how many of them are the request's. */
static size_t on_head(struct http *http, const char *rest, size_t len) {
    const struct request *r = http->request;
    if (http->admitted == ADMISSION_SERVER_FULL || http->admitted == ADMISSION_ADDRESS_FULL)
        admit_again(http);
    if (!http_find_client(http))
        return 0;
    if (http->admitted != ADMISSION_GRANTED) {
        refuse_socket(http);
        return 0;
    }
    if (http->wants_tls && !stream_is_secure(http->stream)) {
        http_refuse(http, 400, "This port needs TLS: use https:// or wss://.");
        return 0;
    }
    http->requests++;
    /* behind a refused handshake frames may follow, which are no request */
    http->keeps = !handshake_wanted(r) && http_allows_next(r);
    http->fast_ms = take_rate(http);
    if (http->fast_ms > 0 && outlives_refusal(http, len)) {
        http->state = HTTP_WHOLE;
        return r->content_length > 0 ? (size_t)r->content_length : 0;
    }
    if (http->fast_ms > 0) {
        http->keeps = false;
        refuse_fast(http, http->fast_ms);
        return 0;
    }
    if (handshake_wanted(r) || (r->content_length <= 0 && !r->chunked)) {
        http->state = HTTP_WHOLE;
        return 0;
    }
    if (r->content_length > (int64_t)http->max_body_bytes) {
        http_refuse(http, 413, "The body is too large.");
        return 0;
    }
    if (r->expect_continue && len == 0)
        http_send_continue(http);
    return take_body(http, rest, len);
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

/* The first byte of a request. */
static void begin_request(struct http *http) {
    http->began_ns = clock_monotonic_ns();
    http->request = mem_zalloc(sizeof *http->request);
    http->chunks = (struct chunked){0};
    if (http->state == HTTP_IDLE) /* the time of the first one runs since its socket was accepted */
        http_deadline_in(http, http->server->options.request_ms);
    http->state = HTTP_READING;
}

/* Refuses a head that request_parse() has refused with this status. */
static void refuse_head(struct http *http, int status) {
    if (!proxy_header_begins(http->head, http->head_used)) {
        http_refuse(http, status, http->request->error);
        return;
    }
    http_set_reason(http, "proxy_protocol");
    http_refuse(http, status,
                "A PROXY header counts only from a peer in trusted_proxies, with "
                "proxy_protocol = true.");
}

size_t http_take(struct http *http, const char *bytes, size_t len) {
    if (http->request == NULL)
        begin_request(http);
    if (http->head_whole)
        return take_body(http, bytes, len);
    size_t before = http->head_used;
    add_to_head(http, bytes, len);
    int result = request_parse(http->request, http->head, http->head_used, http->max_head_bytes);
    if (result < 0)
        refuse_head(http, -result);
    if (result <= 0)
        return len;
    size_t taken = (size_t)result - before;
    http->head_whole = true;
    return taken + on_head(http, bytes + taken, len - taken);
}

void http_read(struct http *http, char *bytes, size_t len) {
    if (http->needs_proxy_header) {
        http_read_proxy_header(http, bytes, len);
        return;
    }
    if (http->state > HTTP_READING || http->ahead.len > 0) {
        http_add_ahead(http, bytes, len);
        return;
    }
    if (!http_leave_idle(http))
        return;
    size_t used = http_take(http, bytes, len);
    bool is_whole = http->state == HTTP_WHOLE;
    if (used < len && !(is_whole && handshake_wanted(http->request)))
        http_add_ahead(http, bytes + used, len - used);
    if (is_whole)
        http_call_handler(http, bytes + used, len - used);
}
