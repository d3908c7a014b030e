/* http_pass.c -- connections that go to another worker, and those that come from one; handshakes
 * that are held. See http.h.
 *
 * A connection is one object, which refers to its worker by the server, the stream and the deadline
 * alone: these stay, the object goes. Its permit is of limits that all workers share, and remains
 * as it is. The other worker handles the request after the events of its turn, and reads nothing
 * from the socket before. */
#include "net/http/http_parts.h"

#include "base/mem.h"

/* A session may end while its client's connection is on the way, and begin elsewhere. */
enum { MAX_PASSES = 3 };

bool http_can_pass(const struct http *http) {
    return http->server->options.handoffs != NULL && http->passes < MAX_PASSES;
}

/* Keeps the bytes behind the request, if they are not kept yet. False: the request is refused. */
static bool keep_ahead(struct http *http, const char *ahead, size_t len) {
    struct admission *admission = http->server->options.admission;
    if (len == 0 || http->ahead.len > 0)
        return true;
    if (admission != NULL) {
        enum limit_result result =
            limit_take_bytes(&admission->uploads, admission_uploads_of(&http->permit), len);
        if (result != LIMIT_TAKEN) {
            http_refuse_upload(http, result);
            return false;
        }
        http->ahead_held = len;
    }
    buffer_add(&http->ahead, ahead, len);
    return true;
}

bool http_hold(struct http *http, const char *ahead, size_t len) {
    if (!keep_ahead(http, ahead, len))
        return false;
    stream_pause(http->stream, true);
    http->is_held = http->was_held = true;
    return true;
}

bool http_was_held(const struct http *http) {
    return http->was_held;
}

void http_go_on(struct http *http) {
    if (!http->is_held)
        return;
    http->is_held = false;
    http->state = HTTP_WHOLE;
    http_schedule(http);
}

/* Takes the connection from its worker. NULL: it closes. */
static struct handoff *leave(struct http *http) {
    struct http_server *server = http->server;
    struct stream_socket socket;
    if (!stream_release(http->stream, &socket))
        return NULL;
    struct handoff *handoff = mem_alloc(sizeof *handoff);
    *handoff = (struct handoff){.http = http, .socket = socket};
    http_no_deadline(http);
    slots_remove(&server->open, http->number);
    http->server = NULL;
    http->stream = NULL;
    http->passes++;
    stats_add(&server->stats->sessions_passed, 1);
    return handoff;
}

void http_pass(struct http *http, unsigned worker, const char *ahead, size_t len) {
    struct http_server *server = http->server;
    struct handoffs *handoffs = server->options.handoffs;
    if (!keep_ahead(http, ahead, len))
        return;
    if (handoffs_begin(handoffs, worker)) {
        handoffs_end(handoffs, worker, leave(http));
        return;
    }
    http_set_reason(http, "worker_busy");
    http_refuse_by_limit(http, &server->stats->connections_refused, true,
                         "The worker of the session is busy.");
}

/* ---- on the other worker ---- */

/* The connection is the server's from now on. */
static void enter(struct http_server *server, struct handoff *handoff) {
    struct http *http = handoff->http;
    http->server = server;
    http->generation = server->generation;
    http->number = slots_add(&server->open, http);
    if (http->number == 0)
        stream_socket_close(&handoff->socket);
    else
        http->stream =
            stream_adopt_released(server->transport, &handoff->socket, &http_stream_events, http);
    if (http->stream == NULL) {
        http_detach(http);
        return;
    }
    stream_pause(http->stream, true);
    http->state = HTTP_WHOLE;
    http_schedule(http);
}

void http_enter_passed(struct http_server *server) {
    if (server->options.handoffs == NULL)
        return;
    struct handoff *handoff = handoffs_take(server->options.handoffs, server->options.worker);
    for (struct handoff *next; handoff != NULL; handoff = next) {
        next = handoff->next;
        enter(server, handoff);
        mem_free(handoff);
    }
}

void http_handle_passed(struct http *http) {
    stream_pause(http->stream, false);
    http_call_handler(http, buffer_start(&http->ahead), http->ahead.len);
}

void http_close_passed(struct http_server *server) {
    if (server->options.handoffs == NULL)
        return;
    struct handoff *handoff = handoffs_close(server->options.handoffs, server->options.worker);
    for (struct handoff *next; handoff != NULL; handoff = next) {
        next = handoff->next;
        stream_socket_close(&handoff->socket);
        handoff->http->server = server;
        handoff->http->number = 0;
        http_detach(handoff->http);
        mem_free(handoff);
    }
}
