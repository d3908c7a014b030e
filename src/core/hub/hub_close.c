/* hub_close.c -- how connections close: by the client, by the network, by the server. See
 * hub_close.h. */
#include "core/hub/hub_close.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "core/hub/hub_internal.h"

#include <stdio.h>
#include <string.h>

/* `by` says for the log which side closes: "client", "network" or "server". */
static void log_close(const struct conn *conn, enum log_level level, const char *by, unsigned code,
                      struct slice reason) {
    struct log_line line;
    log_begin_limited(&line, level, "closed");
    log_path(&line, conn->endpoint->path);
    log_conn(&line, conn->id);
    log_int(&line, "generation", conn->endpoint->generation);
    log_str(&line, "by", by);
    log_int(&line, "code", code);
    log_bytes(&line, "why", reason.len == 0 ? "" : reason.bytes, reason.len);
    if (level > LOG_DEBUG && !log_is_pretty() && conn->endpoint->path != NULL)
        log_str(&line, "endpoint", conn->endpoint->path);
    log_end(&line);
}

static void note_close(struct conn *conn, unsigned code, struct slice reason) {
    conn->close_code = (uint16_t)code;
    conn->close_reason_len = (uint8_t)reason.len;
    conn->close_reason = reason.len > 0 ? mem_strndup(reason.bytes, reason.len) : NULL;
    conn->state = CONN_CLOSING;
    hub_compress_forget(conn); /* nothing more is compressed for it, or decompressed */
}

static void set_close(struct hub *hub, struct conn *conn, unsigned code, struct slice reason) {
    note_close(conn, code, reason);
    conn->due |= DUE_CLOSE;
    hub_session_over(hub, conn);
    hub_asks_over(hub, conn, false);
    hub_rate_release(conn);
    hub_rooms_leave_all(hub, conn); /* before any other connection's hook can run */
    hub_mail_withdraw(hub, conn);
    hub_schedule(hub, conn);
}

/* Queues the Close frame, which is the last frame of the queue. */
static void queue_close_frame(struct hub *hub, struct conn *conn) {
    unsigned char payload[CONTROL_MAX];
    size_t len = 0;
    if (conn->close_code != CLOSE_NO_STATUS) {
        payload[0] = (unsigned char)(conn->close_code >> 8);
        payload[1] = (unsigned char)conn->close_code;
        if (conn->close_reason_len > 0)
            memcpy(payload + 2, conn->close_reason, conn->close_reason_len);
        len = 2u + conn->close_reason_len;
    }
    conn->close_queued = true;
    hub_timers_kill_in(hub, conn, CLOSE_FLUSH_MS);
    hub_send_push(hub, conn, message_new(OPCODE_CLOSE, payload, len));
}

/* Both Close frames are exchanged: ends the TCP connection. */
static void end_tcp(struct hub *hub, struct conn *conn) {
    if (conn->ended || conn->peer == NULL)
        return;
    conn->ended = true;
    hub->wire->end(conn->peer);
    hub_timers_kill_in(hub, conn, conn->half_closed ? CLOSE_FLUSH_MS : CLOSE_LINGER_MS);
}

void hub_close_written(struct hub *hub, struct conn *conn) {
    if (conn->peer_done)
        end_tcp(hub, conn);
    else if (conn->close_queued)
        hub_timers_kill_in(hub, conn, CLOSE_ACK_MS);
}

/* ---- by the client, by the network ---- */

/* Before the client's end is noted: runs the hooks for what it sent before, if they wait for the
 * end of the turn and not for a sleeping hook. */
static void catch_up(struct hub *hub, struct conn *conn) {
    hub_take_mail(hub);
    if (conn->state == CONN_OPEN && !inbox_empty(conn->inbox))
        hub_step(hub, conn);
}

void hub_peer_closed(struct hub *hub, struct conn *conn, unsigned code, const char *reason,
                     size_t len) {
    catch_up(hub, conn);
    if (code != CLOSE_NORMAL && hub_session_can_wait(hub, conn) &&
        hub_session_close_socket(hub, conn, code, (struct slice){reason, len}, true))
        return;
    conn->peer_done = true;
    if (conn->state == CONN_OPEN) {
        log_close(conn, LOG_DEBUG, "client", code, (struct slice){reason, len});
        set_close(hub, conn, code, (struct slice){reason, len});
        queue_close_frame(hub, conn);
    } else if (outq_empty(&conn->out)) {
        end_tcp(hub, conn);
    }
}

/* The TCP connection has ended, or the client's direction of it. */
static void close_by_network(struct hub *hub, struct conn *conn, unsigned code) {
    static const struct slice none = {NULL, 0};
    if (conn->state != CONN_OPEN)
        return;
    log_close(conn, LOG_DEBUG, "network", code, none);
    set_close(hub, conn, code, none);
}

bool hub_peer_ended(struct hub *hub, struct conn *conn, uint64_t ms) {
    catch_up(hub, conn);
    if (hub_session_can_wait(hub, conn)) {
        struct conn *closing = hub_session_part(hub, conn, CLOSE_ABNORMAL);
        conn = closing == NULL ? conn : closing;
    }
    conn->peer_done = conn->half_closed = true;
    close_by_network(hub, conn, CLOSE_ABNORMAL);
    hub_timers_kill_in(hub, conn, ms);
    hub_send_flush(hub, conn);
    return !outq_empty(&conn->out);
}

void hub_peer_broken(struct hub *hub, struct conn *conn, uint64_t ms) {
    if (conn->kill_at_ms == 0)
        hub_timers_kill_in(hub, conn, ms);
}

void hub_gone(struct hub *hub, struct conn *conn, unsigned code) {
    if (conn->state == CONN_HANDSHAKE) {
        if (conn->session != NULL) { /* hub_open() has counted it */
            stats_add(&hub->stats.connections_closed, 1);
            stats_add(&hub->stats.connections, (uint64_t)-1);
        }
        hub_abandon(hub, conn);
        return;
    }
    if (hub_session_can_wait(hub, conn)) {
        hub_session_lost(hub, conn, code);
        return;
    }
    close_by_network(hub, conn, code);
    conn->state = CONN_GONE;
    conn->peer = NULL;
    hub_limits_gone(hub, conn);
    outq_clear(&conn->out);
    hub_queues_forget(hub, conn);
    hub_timers_stop(hub, conn);
    if (!conn->refused) {
        stats_add(&hub->stats.connections_closed, 1);
        stats_add(&hub->stats.connections, (uint64_t)-1);
    }
    hub_schedule(hub, conn);
}

/* ---- by the server ---- */

void hub_open_refused(struct hub *hub, struct conn *conn, void *peer, uint32_t endpoint,
                      unsigned code, const char *reason, size_t len) {
    conn->peer = peer;
    conn->endpoint = hub->endpoints[endpoint];
    conn->is_counted = hub->options.limit != NULL;
    hub_close_refuse(hub, conn, code, (struct slice){reason, len});
}

void hub_close_refuse(struct hub *hub, struct conn *conn, unsigned code, struct slice reason) {
    conn->refused = true;
    note_close(conn, code, reason);
    queue_close_frame(hub, conn);
}

void hub_close_waiting(struct hub *hub, struct conn *conn, unsigned code, struct slice reason) {
    log_close(conn, LOG_DEBUG, "server", code, reason);
    set_close(hub, conn, code, reason);
    conn->state = CONN_GONE;
}

static bool is_fault(unsigned code) {
    return code >= CLOSE_PROTOCOL && code < CLOSE_FIRST_REGISTERED;
}

static void begin(struct hub *hub, struct conn *conn, unsigned code, struct slice reason,
                  bool drop) {
    bool is_info = (is_fault(code) && code != CLOSE_SCRIPT_ERROR) || code == CLOSE_TIMED_OUT;
    hub_session_take_socket_to_close(hub, conn);
    log_close(conn, is_info ? LOG_INFO : LOG_DEBUG, "server", code, reason);
    set_close(hub, conn, code, reason);
    inbox_free(conn->inbox); /* no hook handles what the client sent before */
    conn->inbox = NULL;
    hub_limits_count(hub, conn);
    if (conn->peer == NULL) {
        conn->state = CONN_GONE;
        return;
    }
    if (drop)
        outq_drop_unsent(&conn->out);
    hub_set_paused(hub, conn, false); /* to read the client's Close frame */
    queue_close_frame(hub, conn);
}

void hub_close_begin(struct hub *hub, struct conn *conn, unsigned code, struct slice reason,
                     bool drop) {
    char text[CLOSE_REASON_MAX + 1];
    if (conn->state != CONN_OPEN)
        return;
    snprintf(text, sizeof text, "%.*s", (int)reason.len, reason.len == 0 ? "" : reason.bytes);
    if (is_fault(code) || code == CLOSE_TIMED_OUT)
        refusals_count(hub_refusals(hub), REFUSAL_CLOSE, code, text, conn->endpoint->path);
    begin(hub, conn, code, reason, drop);
}

/* The library closes for scripts too, by a few codes; all other reasons are a script's text, which
 * is no label. */
static const char *script_reason(unsigned code) {
    switch (code) {
    case CLOSE_BAD_PAYLOAD:
        return "message could not be decoded";
    case CLOSE_SCRIPT_ERROR:
        return "script error";
    case CLOSE_TIMED_OUT:
        return "timed out";
    default:
        return "script";
    }
}

void hub_close_by_script(struct hub *hub, struct conn *conn, unsigned code, struct slice reason) {
    if (conn->state != CONN_OPEN)
        return;
    if (is_fault(code) || code == CLOSE_TIMED_OUT)
        refusals_count(hub_refusals(hub), REFUSAL_CLOSE, code, script_reason(code),
                       conn->endpoint->path);
    begin(hub, conn, code, reason, false);
}

static const char timed_out[] = "timed out";

void hub_close_silent(struct hub *hub, struct conn *conn) {
    if (hub_session_can_wait(hub, conn) && conn->peer != NULL &&
        hub_session_close_socket(hub, conn, CLOSE_TIMED_OUT, slice_of(timed_out), false))
        refusals_count(hub_refusals(hub), REFUSAL_CLOSE, CLOSE_TIMED_OUT, timed_out,
                       conn->endpoint->path);
    else
        hub_close_begin(hub, conn, CLOSE_TIMED_OUT, slice_of(timed_out), false);
}

void hub_time_out(struct hub *hub, conn_id id) {
    hub_take_mail(hub);
    struct conn *conn = hub_find(hub, id);
    if (conn != NULL && conn->state == CONN_OPEN && conn->peer != NULL)
        hub_close_silent(hub, conn);
}

void hub_close_fail(struct hub *hub, struct conn *conn, unsigned code, struct slice reason) {
    conn->peer_done = true;
    if (conn->state == CONN_OPEN)
        hub_close_begin(hub, conn, code, reason, false);
    else if (outq_empty(&conn->out))
        end_tcp(hub, conn);
}

void hub_fail(struct hub *hub, struct conn *conn, unsigned code, const char *reason) {
    hub_take_mail(hub);
    stats_add(&hub->stats.protocol_errors, 1);
    hub_close_fail(hub, conn, code, slice_of(reason));
}

void hub_close(struct hub *hub, conn_id id, unsigned code, const char *reason, size_t len) {
    hub_take_mail(hub);
    struct conn *conn = hub_find(hub, id);
    if (conn != NULL)
        hub_close_by_script(hub, conn, code, (struct slice){reason, len});
}
