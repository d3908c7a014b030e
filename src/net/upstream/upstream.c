/* upstream.c -- one WebSocket connection to another server: its life and its time. See upstream.h.
 *
 * `step` is what the socket does, `closed` what the script knows: after the Close frames the script
 * sees the end at once, while the socket waits a moment for the server's end of the TCP connection.
 * The memory is freed when the script has released the number, the name's look-up has ended, and
 * the handles are closed. */
#include "base/mem.h"
#include "net/upstream/upstream_parts.h"

#include <stdio.h>
#include <string.h>

enum { FRAGMENTS_MAX = 64 * 1024 }; /* frames of one message */

/* ---- what the script sees ---- */

void upstream_ready(struct upstream *upstream, enum upstream_event event) {
    upstream_ready_fn on_ready = upstream->waiting[event].on_ready;
    upstream->waiting[event].on_ready = NULL;
    if (on_ready != NULL)
        on_ready(upstream->waiting[event].context, upstream->waiting[event].tag);
}

/* The first code counts: that of the side which has begun to close. */
void upstream_set_code(struct upstream *upstream, unsigned code, const char *reason, size_t len) {
    if (upstream->code != 0)
        return;
    upstream->code = code;
    upstream->reason_len = len;
    if (len > 0) /* else `reason` may be NULL */
        memcpy(upstream->reason, reason, len);
}

/* Does nothing if it knows already. */
void upstream_set_closed(struct upstream *upstream, unsigned code, const char *reason, size_t len) {
    if (upstream->closed)
        return;
    upstream->closed = true;
    if (upstream->was_open)
        stats_add(&upstream->shared->stats->upstreams, (uint64_t)-1);
    upstream_set_code(upstream, code, reason, len);
    for (int event = 0; event < UPSTREAM_EVENTS; event++)
        upstream_ready(upstream, (enum upstream_event)event);
}

/* ---- the end ---- */

void upstream_free_when_unused(struct upstream *upstream) {
    if (!upstream->released || !upstream->timer_closed || upstream->lookup != NULL ||
        upstream->socket != NULL)
        return;
    list_remove(&upstream->unwritten);
    upstream_frames_free_inbox(upstream);
    url_close(&upstream->url);
    client_tls_free(upstream->tls);
    mem_free(upstream->request);
    mem_free(upstream->subprotocols);
    mem_free(upstream->chosen);
    mem_free(upstream);
}

static void on_timer_closed(uv_handle_t *handle) {
    struct upstream *upstream = handle->data;
    upstream->timer_closed = true;
    upstream_free_when_unused(upstream);
}

void upstream_free_out(struct upstream *upstream) {
    queue_memory_remove(upstream->out.capacity);
    buffer_free(&upstream->out);
}

/* Frees what only a connection needs. */
void upstream_end(struct upstream *upstream) {
    if (upstream->step == STEP_ENDED)
        return;
    upstream->step = STEP_ENDED;
    upstream->shared->live--;
    uv_freeaddrinfo(upstream->addresses);
    upstream->addresses = upstream->next_address = NULL;
    frame_reader_reset(&upstream->reader);
    buffer_free(&upstream->head);
    upstream_free_out(upstream);
    uv_close((uv_handle_t *)&upstream->timer, on_timer_closed);
    if (upstream->lookup != NULL)
        uv_cancel((uv_req_t *)upstream->lookup); /* its callback frees it */
}

static void cut_off(struct upstream *upstream) {
    if (upstream->socket != NULL)
        upstream_socket_kill(upstream->socket);
    else
        upstream_end(upstream);
}

void upstream_set_problem(struct upstream *upstream, const char *problem) {
    if (problem != upstream->problem)
        snprintf(upstream->problem, sizeof upstream->problem, "%s", problem);
}

void upstream_fail_to_open(struct upstream *upstream, const char *problem) {
    if (!upstream->closed)
        upstream_set_problem(upstream, problem);
    upstream_set_closed(upstream, CLOSE_ABNORMAL, "", 0);
    cut_off(upstream);
}

/* ---- time ---- */

static void on_timer(uv_timer_t *timer);

void upstream_arm(struct upstream *upstream) {
    uint64_t due = upstream->deadline_ms, now = upstream_now_ms(upstream);
    if (upstream->step == STEP_CONNECTING && upstream->attempt_ms < due) {
        due = upstream->attempt_ms;
    } else if (upstream->step == STEP_OPEN) {
        due = upstream->pong_ms == 0 ? UINT64_MAX : upstream->received_ms + upstream->pong_ms;
        if (upstream->ping_ms != 0 && upstream->ping_at < due)
            due = upstream->ping_at;
    }
    if (due == UINT64_MAX)
        uv_timer_stop(&upstream->timer);
    else
        uv_timer_start(&upstream->timer, on_timer, due > now ? due - now : 0, 0);
}

void upstream_set_step(struct upstream *upstream, enum step step, uint64_t ms) {
    uv_update_time(upstream->shared->loop);
    upstream->step = step;
    upstream->deadline_ms = upstream_now_ms(upstream) + ms;
    upstream_arm(upstream);
}

void upstream_arm_now(struct upstream *upstream) {
    uv_timer_start(&upstream->timer, on_timer, 0, 0);
}

static void fail_late(struct upstream *upstream) {
    char problem[64];
    snprintf(problem, sizeof problem, "timed out after %g s", (double)upstream->timeout_ms / 1000);
    upstream_fail_to_open(upstream, problem);
}

static void on_timer(uv_timer_t *timer) {
    struct upstream *upstream = timer->data;
    uint64_t now = upstream_now_ms(upstream);
    if (upstream->step < STEP_OPEN) {
        if (now >= upstream->deadline_ms)
            fail_late(upstream);
        else if (upstream->socket == NULL)
            upstream_open_next_address(upstream);
        else /* its `closed` goes on with the next address */
            upstream_socket_kill(upstream->socket);
        return;
    }
    if (upstream->step != STEP_OPEN) { /* the server does not answer, or does not end TCP */
        upstream_set_closed(upstream, CLOSE_ABNORMAL, "", 0);
        cut_off(upstream);
        return;
    }
    if (upstream->paused) /* what the server sends is not read */
        upstream->received_ms = now;
    if (upstream->pong_ms != 0 && now - upstream->received_ms >= upstream->pong_ms) {
        upstream_set_closed(upstream, CLOSE_ABNORMAL, "timed out", strlen("timed out"));
        cut_off(upstream);
        return;
    }
    if (upstream->ping_ms != 0 && now >= upstream->ping_at) {
        upstream->ping_at = now + upstream->ping_ms;
        upstream_frames_ping(upstream);
    }
    upstream_arm(upstream);
}

/* ---- closing ---- */

static void begin_close(struct upstream *upstream, unsigned code, const char *reason, size_t len) {
    if (upstream->step == STEP_OPEN)
        upstream_frames_close(upstream, code, reason, len);
    else if (upstream->step < STEP_OPEN)
        upstream_fail_to_open(upstream, len == 0 ? "closed" : reason);
}

/* ---- life ---- */

static bool make_tls(struct upstream *upstream, const struct upstream_options *options,
                     const char **why_not) {
    struct error_text error = {upstream->problem, sizeof upstream->problem};
    struct client_tls_options tls = {
        .host = options->server_name != NULL ? options->server_name : upstream->url.host,
        .verify = options->verify,
        .ca = options->ca,
        .certificate = options->certificate,
        .key = options->key,
        .alpn = slice_of("\x08http/1.1"),
        .plain_hint = "; should wss:// be ws://?",
    };
    if (!upstream->url.secure)
        return true;
    upstream->tls = client_tls_new(upstream->shared->tls, &tls, &error);
    *why_not = upstream->problem; /* valid until the timer is closed */
    return upstream->tls != NULL;
}

struct upstream *upstream_new(struct upstream_shared *shared,
                              const struct upstream_options *options, const char **why_not) {
    struct upstream *upstream = mem_zalloc(sizeof *upstream);
    upstream->shared = shared;
    shared->live++;
    upstream->timeout_ms = options->timeout_ms;
    upstream->ping_ms = options->ping_ms;
    upstream->pong_ms = options->pong_ms;
    upstream->limits = (struct frame_limits){options->max_message_size, FRAGMENTS_MAX};
    upstream->max_backlog = options->max_backlog;
    upstream->max_inbox = options->max_inbox;
    list_init(&upstream->unwritten);
    list_init(&upstream->inbox);
    uv_timer_init(shared->loop, &upstream->timer);
    upstream->timer.data = upstream;
    char error[200];
    *why_not = "invalid URL";
    bool good = url_parse(options->url, &upstream->url, error, sizeof error);
    if (good) {
        struct ws_client_options request = {options->headers, options->header_count,
                                            options->subprotocols, options->subprotocol_count};
        upstream->request = ws_client_write_request(&upstream->url, &request, upstream->key);
        struct buffer names = {0};
        for (size_t i = 0; i < options->subprotocol_count; i++)
            buffer_add(&names, options->subprotocols[i], strlen(options->subprotocols[i]) + 1);
        upstream->subprotocols = names.bytes;
        upstream->subprotocol_count = options->subprotocol_count;
        upstream_set_step(upstream, STEP_RESOLVING, upstream->timeout_ms);
        good = make_tls(upstream, options, why_not) && upstream_open_begin(upstream, why_not);
    }
    if (good)
        return upstream;
    upstream->closed = true;
    upstream_end(upstream);
    upstream->released = true;
    return NULL;
}

void upstream_status(struct upstream *upstream, struct upstream_status *out) {
    *out = (struct upstream_status){
        .state = upstream->closed              ? UPSTREAM_CLOSED
                 : upstream->step < STEP_OPEN  ? UPSTREAM_CONNECTING
                 : upstream->step == STEP_OPEN ? UPSTREAM_OPEN
                                               : UPSTREAM_CLOSING,
        .problem = upstream->was_open ? NULL : upstream->problem,
        .http_status = upstream->http_status,
        .subprotocol = upstream->chosen,
        .code = upstream->code,
        .reason = {upstream->reason, upstream->reason_len},
        .backlog = upstream->out.len,
    };
}

void upstream_wait(struct upstream *upstream, enum upstream_event event, upstream_ready_fn on_ready,
                   void *context, uint64_t tag) {
    upstream->waiting[event].on_ready = on_ready;
    upstream->waiting[event].context = context;
    upstream->waiting[event].tag = tag;
}

void upstream_close(struct upstream *upstream, unsigned code, struct slice reason) {
    begin_close(upstream, code, reason.bytes, reason.len);
}

void upstream_release(struct upstream *upstream) {
    static const char unused[] = "";
    for (int event = 0; event < UPSTREAM_EVENTS; event++)
        upstream->waiting[event].on_ready = NULL;
    upstream->released = true;
    begin_close(upstream, CLOSE_GOING_AWAY, unused, 0);
    upstream_frames_free_inbox(upstream);
    upstream_free_when_unused(upstream);
}

void upstream_drain(struct upstream *upstream) {
    static const char why[] = "server is shutting down";
    begin_close(upstream, CLOSE_GOING_AWAY, why, sizeof why - 1);
    upstream_flush(upstream);
    upstream_set_closed(upstream, CLOSE_GOING_AWAY, why, sizeof why - 1);
}

void upstream_kill(struct upstream *upstream) {
    upstream_set_closed(upstream, CLOSE_ABNORMAL, "", 0);
    cut_off(upstream);
}

struct upstream *upstream_first_unwritten(struct upstream_shared *shared) {
    return list_empty(&shared->unwritten)
               ? NULL
               : LIST_OWNER(shared->unwritten.next, struct upstream, unwritten);
}
