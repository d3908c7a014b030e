/* http_keep.c -- connections that are kept after a response, for the next request. See http.h.
 *
 * An idle connection has no memory for requests and responses, and closes when a new socket needs
 * its place (net/socket/idle_sockets.h). Requests that a client sends before
 * it has its response wait as bytes: no two requests of a connection are under way at once, so the
 * responses keep the order. Each turn of the loop takes one of them from each connection, for a
 * slice of time, so that ten thousand requests in one write do not keep other clients waiting. When
 * many bytes wait, the stream is paused, and TCP slows the client down. */
#include "net/http/http_parts.h"

#include "base/clock.h"
#include "base/turn.h"
#include "net/http/handshake.h"

/* Waiting bytes from which on nothing is read. The last read may have brought more. */
enum { PAUSE_BYTES = 16 * 1024 };

bool http_allows_next(const struct request *request) {
    if (request_header_has(request, "Connection", "close"))
        return false;
    return request->minor >= 1 || request_header_has(request, "Connection", "keep-alive");
}

int http_keep_seconds(struct http *http) {
    const struct http_server *server = http->server;
    const struct http_options *options = &server->options;
    bool has_next = !http->ended || http->ahead.len > 0;
    bool is_last =
        options->keep_alive_requests > 0 && http->requests >= options->keep_alive_requests;
    if (server->ends_keep_alive || http->generation != server->generation ||
        options->keep_alive_ms == 0 || is_last || !has_next)
        http->keeps = false;
    return http->keeps ? (int)(options->keep_alive_ms / 1000) : RESPONSE_CLOSE;
}

/* ---- bytes behind the request ---- */

void http_free_ahead(struct http *http) {
    struct admission *admission = http->server->options.admission;
    if (admission != NULL)
        limit_release_bytes(&admission->uploads, admission_uploads_of(&http->permit),
                            http->ahead_held);
    http->ahead_held = 0;
    buffer_free(&http->ahead);
}

static void drop_ahead(struct http *http) {
    http_free_ahead(http);
    stream_pause(http->stream, false);
}

void http_add_ahead(struct http *http, const char *bytes, size_t len) {
    struct admission *admission = http->server->options.admission;
    if (!http->keeps)
        return;
    if (admission != NULL &&
        limit_take_bytes(&admission->uploads, admission_uploads_of(&http->permit), len) !=
            LIMIT_TAKEN) {
        http->keeps = false; /* the present request is the last one that gets a response */
        drop_ahead(http);
        return;
    }
    if (admission != NULL)
        http->ahead_held += len;
    buffer_add(&http->ahead, bytes, len);
    if (http->ahead.len >= PAUSE_BYTES)
        stream_pause(http->stream, true);
}

/* ---- the next request ---- */

void http_schedule(struct http *http) {
    struct http_server *server = http->server;
    list_append(&server->pending, &http->in_pending);
    uv_idle_start(&server->next, http_on_next);
}

static void enter_idle(struct http *http) {
    struct http_server *server = http->server;
    if (server->options.admission != NULL)
        idle_sockets_add(server->options.admission->idle, &http->idle, &server->idle, &http->permit,
                         http->permit.address == NULL ? NULL
                                                      : ip_counts_text(http->permit.address));
}

bool http_leave_idle(struct http *http) {
    struct admission *admission = http->server->options.admission;
    if (admission == NULL || idle_sockets_remove(admission->idle, &http->idle))
        return true;
    stats_add(&http->server->stats->idle_evicted, 1);
    http_close_idle(http);
    return false;
}

void http_server_make_room(struct http_server *server) {
    if (server->options.admission != NULL)
        admission_evict(server->options.admission, NULL);
}

void http_close_evicted(struct http_server *server) {
    struct admission *admission = server->options.admission;
    struct idle_socket *idle;
    if (admission == NULL)
        return;
    while ((idle = idle_sockets_next_evicted(admission->idle, &server->idle)) != NULL) {
        stats_add(&server->stats->idle_evicted, 1);
        http_close_idle(LIST_OWNER(idle, struct http, idle));
    }
}

bool http_keep(struct http *http) {
    struct http_server *server = http->server;
    bool has_next = !http->ended || http->ahead.len > 0;
    if (!http->keeps || server->ends_keep_alive || !has_next) {
        http->keeps = false;
        drop_ahead(http);
        return false;
    }
    /* a second response of a script to this request must not answer the next one */
    slots_remove(&server->open, http->number);
    http->number = slots_add(&server->open, http);
    static_close(&http->file);
    http->began_ns = 0;
    http->state = HTTP_IDLE;
    if (http->ahead.len > 0) {
        http_no_deadline(http);
        http_schedule(http);
    } else {
        http_forget_client(http);
        http_deadline_in(http, server->options.keep_alive_ms);
        enter_idle(http);
    }
    return true;
}

/* Takes one request, or the beginning of one, of the bytes that have come ahead. The connection may
 * be freed then. */
static void read_next(struct http *http) {
    struct admission *admission = http->server->options.admission;
    size_t used = http_take(http, buffer_start(&http->ahead), http->ahead.len);
    if (http->state > HTTP_WHOLE)
        return; /* it is refused; the response frees what is left */
    buffer_drop(&http->ahead, used);
    if (http->ahead.len == 0)
        drop_ahead(http);
    else if (admission != NULL) {
        limit_release_bytes(&admission->uploads, admission_uploads_of(&http->permit), used);
        http->ahead_held -= used;
    }
    if (http->state == HTTP_WHOLE && handshake_wanted(http->request))
        stream_pause(http->stream, false); /* what is left are frames, which have their own limit */
    if (http->state == HTTP_WHOLE)
        http_call_handler(http, buffer_start(&http->ahead), http->ahead.len);
    else if (http->ended && http->state <= HTTP_READING)
        http_close_idle(http); /* the rest of this request does not come */
}

/* Takes a request of each connection. Those that have one more come again in the next turn. */
void http_on_next(uv_idle_t *next) {
    struct http_server *server = next->data;
    struct list batch;
    turn_begin(server->loop);
    turn_note_work();
    list_init(&batch);
    list_move(&batch, &server->pending);
    uint64_t began = clock_monotonic_ns();
    while (!list_empty(&batch) && clock_monotonic_ns() - began < TURN_SLICE_NS) {
        struct http *http = LIST_OWNER(batch.next, struct http, in_pending);
        list_remove(&http->in_pending);
        if (http->state == HTTP_WHOLE)
            http_handle_passed(http);
        else
            read_next(http);
    }
    list_move(&batch, &server->pending); /* the rest of the batch comes first */
    list_move(&server->pending, &batch);
    if (list_empty(&server->pending))
        uv_idle_stop(next);
}

/* The loop reads a request that has arrived in this turn. */
enum { ARRIVED_MS = 1000 };

void http_end_idle(struct http *http) {
    bool has_time = http->keeps; /* once */
    http->keeps = false;
    if (has_time && stream_has_input(http->stream))
        http_deadline_in(http, ARRIVED_MS);
    else
        http_close_idle(http);
}

void http_close_idle(struct http *http) {
    stream_shutdown(http->stream); /* TLS says that it is the end */
    stream_kill(http->stream);
}
