/* http.c -- HTTP connections: their beginning, their deadlines and their end. See http.h.
 *
 * http_read.c reads a request, http_peer.c finds its client, http_write.c writes its response,
 * http_keep.c goes on to the next request, and http_pass.c passes a connection to another worker.
 * `enum http_state` in http_parts.h has the states; each but WAITING has a deadline. After the last
 * response the connection is ENDING until the client has closed too: closing at once could reset
 * the connection and destroy the response on its way. */
#include "net/http/http.h"

#include "base/mem.h"
#include "net/http/http_parts.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Milliseconds between two checks of the deadlines, which need no precision. */
enum { TICK_MS = 100 };

/* Milliseconds that a drain leaves a handler for the response to a client that has ended its
 * direction: most of these clients are gone. */
enum { DRAINING_MS = 2000 };

static void on_tick(uv_timer_t *timer);

/* From other workers. */
static void on_mail(uv_async_t *mail) {
    struct http_server *server = mail->data;
    http_close_evicted(server);
    http_enter_passed(server);
}

struct http_server *http_server_new(uv_loop_t *loop, struct transport *transport,
                                    struct stats *stats, const struct http_options *options) {
    struct http_server *server = mem_zalloc(sizeof *server);
    server->loop = loop;
    server->transport = transport;
    server->options = *options;
    tls_server_ref(options->tls);
    server->stats = stats;
    uv_timer_init(loop, &server->timer);
    uv_idle_init(loop, &server->next);
    uv_async_init(loop, &server->mail, on_mail);
    uv_unref((uv_handle_t *)&server->mail); /* it alone does not keep the loop alive */
    idle_worker_init(&server->idle, &server->mail);
    server->timer.data = server->next.data = server->mail.data = server;
    list_init(&server->pending);
    if (options->handoffs != NULL)
        handoffs_open(options->handoffs, options->worker, &server->mail);
    return server;
}

void http_server_change(struct http_server *server, const struct http_options *options) {
    tls_server_ref(options->tls);
    tls_server_unref(server->options.tls);
    server->options = *options;
    server->generation++;
}

void http_server_on_request(struct http_server *server, http_request_fn on_request, void *user) {
    server->on_request = on_request;
    server->on_request_user = user;
}

void http_server_on_handshake(struct http_server *server, http_handshake_fn on_handshake,
                              void *user) {
    server->on_handshake = on_handshake;
    server->on_handshake_user = user;
}

void http_server_on_full(struct http_server *server, http_full_fn on_full, void *user) {
    server->on_full = on_full;
    server->on_full_user = user;
}

void http_server_close(struct http_server *server) {
    uint32_t at = 0;
    for (struct http *http; (http = slots_next(&server->open, &at)) != NULL;)
        http_leave_idle(http); /* no other worker wakes this one from now on */
    http_close_passed(server);
    uv_close((uv_handle_t *)&server->mail, NULL);
    uv_close((uv_handle_t *)&server->timer, NULL);
    uv_close((uv_handle_t *)&server->next, NULL);
}

void http_server_free(struct http_server *server) {
    if (server == NULL)
        return;
    mem_free(server->piece);
    deadlines_close(&server->timers);
    slots_close(&server->open);
    tls_server_unref(server->options.tls);
    mem_free(server);
}

void http_deadline_in(struct http *http, uint64_t ms) {
    struct http_server *server = http->server;
    deadlines_set(&server->timers, &http->deadline, uv_now(server->loop) + ms);
    if (!uv_is_active((uv_handle_t *)&server->timer) &&
        !uv_is_closing((uv_handle_t *)&server->timer))
        uv_timer_start(&server->timer, on_tick, TICK_MS, TICK_MS);
}

void http_no_deadline(struct http *http) {
    deadlines_remove(&http->server->timers, &http->deadline);
}

void http_detach(struct http *http) {
    deadlines_remove(&http->server->timers, &http->deadline);
    struct admission *admission = http->server->options.admission;
    if (admission != NULL)
        idle_sockets_remove(admission->idle, &http->idle);
    slots_remove(&http->server->open, http->number);
    list_remove(&http->in_pending);
    static_close(&http->file);
    http_free_request(http);
    http_free_response(http);
    http_free_ahead(http);
    if (admission != NULL)
        admission_release(admission, &http->permit);
    session_place_return(http->place);
    mem_free(http);
}

struct stream *http_stream(const struct http *http) {
    return http->stream;
}

struct permit http_take_permit(struct http *http) {
    struct permit permit = http->permit;
    http->permit = (struct permit){0};
    return permit;
}

struct session_place *http_take_place(struct http *http) {
    struct session_place *place = http->place;
    http->place = NULL;
    return place;
}

static void on_received(void *owner, char *bytes, size_t len) {
    http_read(owner, bytes, len);
}

static void on_writable(void *owner) {
    http_write(owner);
}

void http_set_handler_deadline(struct http *http) {
    const struct http_server *server = http->server;
    uint64_t ms = server->options.half_closed_ms;
    if (!http->ended)
        http_no_deadline(http);
    else
        http_deadline_in(http, server->draining && ms > DRAINING_MS ? DRAINING_MS : ms);
}

static bool on_ended(void *owner) {
    struct http *http = owner;
    http->ended = true;
    if (http->needs_proxy_header && http->head_used > 0)
        http_refuse_proxy_header(http, "the PROXY header is incomplete");
    if (http->state == HTTP_WAITING)
        http_set_handler_deadline(http);
    return http->state == HTTP_WAITING || http->state == HTTP_WRITING || http->ahead.len > 0;
}

static void on_broken(void *owner) {
    struct http *http = owner;
    stream_kill(http->stream); /* no client gets the responses to what is left */
}

static void on_closed(void *owner) {
    const struct http *http = owner;
    const char *refusal = stream_tls_refusal(http->stream);
    if (refusal != NULL)
        refusals_count(http->server->options.refusals, REFUSAL_REQUEST, 0, refusal, NULL);
    http_detach(owner);
}

const struct stream_events http_stream_events = {on_received, on_writable, on_ended, on_closed,
                                                 on_broken};

/* Takes the permit of an accepted socket, that of a trusted proxy without an address. Returns why
 * it is to be closed at once, without an answer; NULL: it is not. */
static const char *admit(struct http *http, bool is_proxy) {
    struct admission *admission = http->server->options.admission;
    http->rate_is_due = is_proxy;
    if (!is_proxy && !http_take_rate(http))
        return HTTP_WHY_ADDRESS_FAST;
    if (http->admitted == ADMISSION_GRANTED)
        http->admitted = admission_take(admission, is_proxy ? NULL : http->remote, &http->permit);
    return http->admitted == ADMISSION_DROP ? "too many clients are being refused" : NULL;
}

void http_accept(struct http_server *server, int fd, const char *remote) {
    struct http *http = mem_zalloc(sizeof *http);
    http->server = server;
    http->state = HTTP_READING;
    http->file.fd = -1;
    http->generation = server->generation;
    list_init(&http->in_pending);
    snprintf(http->remote, sizeof http->remote, "%s", remote);
    memcpy(http->peer, http->remote, sizeof http->peer);
    bool is_proxy = trusted_proxies_has_peer(server->options.proxies, remote);
    http->over_unix = strcmp(remote, "unix") == 0;
    http->needs_proxy_header = is_proxy && server->options.proxy_protocol;
    struct tls_server *tls = http->over_unix ? NULL : server->options.tls;
    http->wants_tls = tls != NULL;
    const char *why = server->options.admission == NULL ? NULL : admit(http, is_proxy);
    if (why == NULL && tls != NULL && !http->needs_proxy_header && !http_take_tls(http))
        why = HTTP_WHY_TLS_FAST;
    if (why != NULL) {
        stats_add(&server->stats->connections_refused, 1);
        http_log_end(http, why);
        close(fd);
        admission_release(server->options.admission, &http->permit);
        mem_free(http);
        return;
    }
    http->number = slots_add(&server->open, http);
    if (http->needs_proxy_header) /* the header comes before TLS */
        tls = NULL;
    http->max_head_bytes = server->options.max_head_bytes;
    http->max_body_bytes = server->options.max_body_bytes;
    if (http->number == 0)
        close(fd);
    else
        http->stream = stream_adopt(server->transport, fd, remote, tls, &http_stream_events, http);
    if (http->stream == NULL)
        http_detach(http);
    else
        http_deadline_in(http, server->options.request_ms);
}

/* ---- deadlines ---- */

static void on_deadline(struct http *http) {
    if (http->needs_proxy_header)
        http_refuse_proxy_header(http, "the PROXY header did not arrive in time");
    else if (http->state == HTTP_READING && http->head_used > 0)
        http_refuse(http, 408, "The request did not arrive in time.");
    else if (http->state == HTTP_IDLE)
        http_end_idle(http);
    else if (http->state != HTTP_WRITING || http_is_slow(http))
        stream_kill(http->stream);
}

static void on_tick(uv_timer_t *timer) {
    struct http_server *server = timer->data;
    uint64_t now = uv_now(server->loop);
    for (struct deadline *node;
         (node = deadlines_peek(&server->timers)) != NULL && node->key <= now;) {
        deadlines_remove(&server->timers, node);
        on_deadline(DEADLINE_OWNER(node, struct http, deadline));
    }
    if (deadlines_peek(&server->timers) == NULL)
        uv_timer_stop(timer);
}

/* ---- all connections ---- */

uint32_t http_server_count(const struct http_server *server) {
    return slots_count(&server->open);
}

void http_server_end_keep_alive(struct http_server *server) {
    uint32_t at = 0;
    server->ends_keep_alive = true;
    for (struct http *http; (http = slots_next(&server->open, &at)) != NULL;)
        if (http->state == HTTP_IDLE && http->ahead.len == 0)
            http_end_idle(http);
}

void http_server_drain(struct http_server *server) {
    uint32_t at = 0;
    server->draining = true;
    http_server_end_keep_alive(server);
    for (struct http *http; (http = slots_next(&server->open, &at)) != NULL;) {
        if (http->state == HTTP_READING && http->head_used == 0)
            stream_kill(http->stream);
        else if (http->state == HTTP_WAITING && http->ended)
            http_set_handler_deadline(http);
    }
}

void http_server_kill_all(struct http_server *server) {
    uint32_t at = 0;
    for (struct http *http; (http = slots_next(&server->open, &at)) != NULL;)
        stream_kill(http->stream);
}

uint64_t http_number(const struct http *http) {
    return http->number;
}

struct http *http_find(struct http_server *server, uint64_t number) {
    return slots_find(&server->open, number);
}

bool http_is_secure(const struct http *http) {
    return http->secure;
}

struct slice http_forwarded_host(const struct http *http) {
    return http->forwarded_host;
}

const char *http_remote(const struct http *http) {
    return http->remote;
}
