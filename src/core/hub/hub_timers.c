/* hub_timers.c -- deadlines: pings, silence, connections that close too slowly.
 *
 * One heap of deadlines for all connections, one entry each: the nearest of its times. A sign of
 * life only notes the time; the hub moves the deadline when it comes. So a busy connection costs
 * nothing here, and the hub still notices silence at its exact moment. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t silence_end(const struct conn *conn) {
    return conn->last_seen_ms + conn->endpoint->pong_ms;
}

static bool is_silent(const struct hub *hub, const struct conn *conn) {
    return conn->endpoint->pong_ms > 0 && conn->peer != NULL && hub_now(hub) >= silence_end(conn);
}

void hub_timers_arm(struct hub *hub, struct conn *conn) {
    uint64_t next = UINT64_MAX;
    if (conn->kill_at_ms > 0)
        next = conn->kill_at_ms;
    if (conn_waits(conn)) {
        if (conn->session->ends_at_ms > 0)
            next = conn->session->ends_at_ms;
    } else if (conn->state == CONN_OPEN) {
        /* no deadline of silence while on_timeout is due */
        if (conn->endpoint->pong_ms > 0 && !(conn->due & DUE_TIMEOUT) && silence_end(conn) < next)
            next = silence_end(conn);
        if (conn->next_ping_ms > 0 && conn->next_ping_ms < next)
            next = conn->next_ping_ms;
        if (conn->message_end_ms > 0 && conn->message_end_ms < next)
            next = conn->message_end_ms;
        uint64_t resume_ms = hub_rate_resume_ms(conn);
        if (resume_ms > 0 && resume_ms < next)
            next = resume_ms;
    }
    if (next == UINT64_MAX)
        deadlines_remove(&hub->timers, &conn->timer);
    else
        deadlines_set(&hub->timers, &conn->timer, next);
}

void hub_timers_start(struct hub *hub, struct conn *conn) {
    uint64_t now = hub_now(hub);
    conn->last_seen_ms = now;
    if (conn->endpoint->ping_ms > 0)
        conn->next_ping_ms = now + conn->endpoint->ping_ms;
    hub_timers_arm(hub, conn);
}

void hub_timers_stop(struct hub *hub, struct conn *conn) {
    deadlines_remove(&hub->timers, &conn->timer);
}

void hub_timers_kill_in(struct hub *hub, struct conn *conn, uint64_t ms) {
    conn->kill_at_ms = hub_now(hub) + ms;
    hub_timers_arm(hub, conn);
}

void hub_timers_reset_silence(struct hub *hub, struct conn *conn) {
    conn->last_seen_ms = hub_now(hub);
    hub_timers_arm(hub, conn);
}

void hub_timers_reload(struct hub *hub, struct conn *conn, uint64_t old_ping_ms) {
    uint64_t ping_ms = conn->endpoint->ping_ms, now = hub_now(hub);
    if (ping_ms == 0)
        conn->next_ping_ms = 0;
    else if (old_ping_ms == 0 || conn->next_ping_ms > now + ping_ms)
        conn->next_ping_ms = now + ping_ms;
    hub_timers_arm(hub, conn);
}

bool hub_timers_confirm_silence(struct hub *hub, struct conn *conn) {
    bool silent = is_silent(hub, conn);
    if (silent)
        conn->last_seen_ms = hub_now(hub);
    hub_timers_arm(hub, conn);
    return silent;
}

/* ---- pings ---- */

/* The documented JSON form (docs/scripting.md). */
static void json_ping(struct hub *hub, struct conn *conn) {
    static const char format[] =
        "{\"type\":\"ping\",\"pingId\":%" PRIu32 ",\"name\":%s,\"connId\":\"%s\"%s}";
    const char *name = conn->endpoint->json_name;
    char id[CONN_ID_LEN + 1], received[40] = "";
    conn_id_format(id, conn->id);
    if (conn->session != NULL)
        snprintf(received, sizeof received, ",\"received\":%" PRId64, hub_session_received(conn));
    int len = snprintf(NULL, 0, format, conn->ping_number, name, id, received);
    char *text = mem_alloc((size_t)len + 1);
    snprintf(text, (size_t)len + 1, format, conn->ping_number, name, id, received);
    hub_send_ping(hub, conn, OPCODE_TEXT, text, (size_t)len);
    mem_free(text);
}

/* A PING frame that carries its number, by which its PONG differs from an older one's. */
static void frame_ping(struct hub *hub, struct conn *conn) {
    char text[16];
    int len = snprintf(text, sizeof text, "%" PRIu32, conn->ping_number);
    hub_send_ping(hub, conn, OPCODE_PING, text, (size_t)len);
}

void hub_timers_send_ping(struct hub *hub, struct conn *conn) {
    if (hub_send_ping_waits(conn))
        return; /* the answer to the queued one is enough */
    conn->ping_number++;
    conn->ping_sent_ns = clock_monotonic_ns();
    stats_add(&hub->stats.pings_sent, 1);
    if (conn->endpoint->heartbeat == HEARTBEAT_JSON)
        json_ping(hub, conn);
    else
        frame_ping(hub, conn);
}

bool hub_ping(struct hub *hub, conn_id id) {
    struct conn *conn = hub_find(hub, id);
    if (conn == NULL || conn->state != CONN_OPEN || conn->peer == NULL)
        return false;
    hub_timers_send_ping(hub, conn);
    return true;
}

static void answered(struct hub *hub, struct conn *conn, int64_t number) {
    stats_add(&hub->stats.pongs_received, 1);
    if (number != conn->ping_number || conn->ping_sent_ns == 0)
        return;
    conn->rtt_seconds = (double)(clock_monotonic_ns() - conn->ping_sent_ns) / 1e9;
    conn->ping_sent_ns = 0;
}

void hub_pong(struct hub *hub, struct conn *conn, const char *payload, size_t len) {
    if (conn->state == CONN_OPEN && !hub_rate_admit_control(hub, conn, true))
        return;
    if (conn->session != NULL)
        hub_session_pong(conn, payload, len);
    char text[16] = "";
    if (len < sizeof text)
        memcpy(text, payload, len);
    int64_t number = 0;
    if (sscanf(text, "%" SCNd64, &number) != 1)
        number = 0; /* unsolicited (RFC 6455 section 5.5.3): a sign of life, no answer */
    answered(hub, conn, number);
}

double hub_rtt_seconds(struct hub *hub, conn_id id) {
    const struct conn *conn = hub_find(hub, id);
    return conn == NULL ? -1 : conn->rtt_seconds;
}

void hub_json_pong(struct hub *hub, conn_id id, int64_t ping_number) {
    struct conn *conn = hub_find(hub, id);
    if (conn != NULL)
        answered(hub, conn, ping_number);
}

/* ---- deadlines ---- */

static void ping_due(struct hub *hub, struct conn *conn, uint64_t now) {
    uint64_t period = conn->endpoint->ping_ms;
    conn->next_ping_ms += period;
    if (conn->next_ping_ms <= now) /* the loop was late: start anew, without a burst */
        conn->next_ping_ms = now + period;
    if (!conn->endpoint->has_ping) {
        hub_timers_send_ping(hub, conn);
    } else {
        conn->due |= DUE_PING;
        hub_schedule(hub, conn);
    }
}

static void silence_due(struct hub *hub, struct conn *conn) {
    if (conn->paused) { /* the hub does not read from it */
        conn->last_seen_ms = hub_now(hub);
        return;
    }
    uint64_t quiet = hub->wire->quiet_ms(conn->peer);
    if (quiet < conn->endpoint->pong_ms) { /* bytes of an incomplete frame came */
        conn->last_seen_ms = hub_now(hub) - quiet;
        return;
    }
    stats_add(&hub->stats.timeouts, 1);
    if (conn->endpoint->has_timeout) {
        conn->due |= DUE_TIMEOUT;
        hub_schedule(hub, conn);
        return;
    }
    hub_close_silent(hub, conn);
}

static void run_deadline(struct hub *hub, struct conn *conn, uint64_t now) {
    if (conn->kill_at_ms > 0 && now >= conn->kill_at_ms) {
        conn->kill_at_ms = 0;
        if (conn->peer != NULL)
            hub->wire->kill(conn->peer);
    }
    if (conn_waits(conn)) {
        if (conn->session->ends_at_ms > 0 && now >= conn->session->ends_at_ms)
            hub_session_expire(hub, conn);
        else
            hub_timers_arm(hub, conn);
        return;
    }
    if (conn->state == CONN_OPEN && is_silent(hub, conn) && !(conn->due & DUE_TIMEOUT))
        silence_due(hub, conn);
    if (conn->state == CONN_OPEN && conn->message_end_ms > 0 && now >= conn->message_end_ms)
        hub_limits_due(hub, conn);
    uint64_t resume_ms = hub_rate_resume_ms(conn);
    if (conn->state == CONN_OPEN && resume_ms > 0 && now >= resume_ms)
        hub_rate_due(hub, conn);
    if (conn->state == CONN_OPEN && conn->next_ping_ms > 0 && now >= conn->next_ping_ms)
        ping_due(hub, conn, now);
    hub_timers_arm(hub, conn);
}

int64_t hub_next_timer_ms(const struct hub *hub) {
    const struct deadline *first = deadlines_peek(&hub->timers);
    uint64_t drain = hub_drain_due_ms(hub), next = first == NULL ? UINT64_MAX : first->key;
    if (drain < next)
        next = drain;
    if (next == UINT64_MAX)
        return -1;
    uint64_t now = hub_now(hub);
    return next <= now ? 0 : (int64_t)(next - now);
}

/* Each may be a frame for a client, or a hook: other work waits meanwhile. */
enum { DEADLINES_PER_TURN = 500 };

void hub_run_timers(struct hub *hub) {
    uint64_t now = hub_now(hub);
    struct deadline *node;
    for (int i = 0; i < DEADLINES_PER_TURN; i++) {
        if ((node = deadlines_peek(&hub->timers)) == NULL || node->key > now)
            break;
        run_deadline(hub, DEADLINE_OWNER(node, struct conn, timer), now);
    }
    hub_drain_run(hub, now);
}
