/* hub_session_return.c -- the client of a session is back: how its new socket becomes the
 * session's.
 *
 * The connection that brings it is the *candidate*. It stays in its handshake and is not read until
 * on_resume of the session has ended. Then the session takes its socket; or the candidate is turned
 * away, because a newer one has come; or the session has ended meanwhile, and the candidate begins
 * one of its own. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

/* The candidate's socket is not wanted any more. */
static void turn_away(struct hub *hub, struct conn *candidate, unsigned code, const char *reason) {
    candidate->session->returns_to = 0;
    hub_session_forget(hub, candidate);
    hub_set_paused(hub, candidate, false);
    stats_add(&hub->stats.connections_closed, 1);
    stats_add(&hub->stats.connections, (uint64_t)-1);
    hub_close_refuse(hub, candidate, code, slice_of(reason));
}

/* Has the client given this socket up before it opened the other one, which the session has? A
 * worker may take long to read a handshake, and another one be faster with the next. */
static bool is_outdated(const struct conn *candidate, const struct conn *other) {
    return candidate->session->has_end ||
           candidate->session->asked_ms + SESSION_TICKS_MS < other->session->asked_ms;
}

bool hub_session_return(struct hub *hub, struct conn *candidate) {
    struct conn *conn = hub_find(hub, candidate->session->returns_to);
    if (conn == NULL || conn->state != CONN_OPEN)
        return false;
    struct session *session = conn->session;
    hub_session_stay(hub, conn);
    const struct conn *other = session->candidate != NULL ? session->candidate : conn;
    if (other->peer != NULL && is_outdated(candidate, other)) {
        turn_away(hub, candidate, CLOSE_REPLACED, "replaced");
        return true;
    }
    hub_set_paused(hub, candidate, true);
    if (conn->peer != NULL)
        hub_session_close_socket(hub, conn, CLOSE_REPLACED, slice_of("replaced"), false);
    if (session->candidate != NULL)
        turn_away(hub, session->candidate, CLOSE_REPLACED, "replaced");
    session->candidate = candidate;
    session->arrived -= inbox_count(conn->inbox); /* the client sends it again */
    inbox_free(conn->inbox);
    conn->inbox = NULL;
    hub_limits_count(hub, conn);
    session->ends_at_ms = 0;
    hub_timers_arm(hub, conn);
    conn->due |= DUE_RESUME;
    if (conn->busy)
        hub_asks_over(hub, conn, true);
    hub_schedule(hub, conn);
    return true;
}

/* Takes the candidate's socket; the candidate is freed. */
static void take_socket(struct hub *hub, struct conn *conn) {
    struct session *session = conn->session;
    struct conn *candidate = session->candidate;
    conn->peer = candidate->peer;
    conn->paused = candidate->paused;
    conn->kill_at_ms = candidate->kill_at_ms;
    conn->kept = candidate->kept;
    conn->message_number = candidate->message_number;
    conn->compresses = candidate->compresses;
    conn->window_bits = candidate->window_bits;
    conn->contexts = candidate->contexts;
    conn->half_closed = conn->peer_done = conn->ended = false;
    conn->rtt_seconds = -1;
    session->asked_ms = candidate->session->asked_ms;
    candidate->contexts = NULL;
    candidate->peer = NULL;
    session->candidate = NULL;
    candidate->session->returns_to = 0;
    candidate->is_adopted = true;
    hub_limits_gone(hub, candidate);
    hub->wire->rebind(conn->peer, conn);
    hub_limits_count(hub, conn);
    hub_session_end_waiting(hub, conn);
    hub_abandon(hub, candidate);
}

void hub_session_take_socket_to_close(struct hub *hub, struct conn *conn) {
    if (conn->session != NULL && conn->session->candidate != NULL)
        take_socket(hub, conn);
}

static void resume(struct hub *hub, struct conn *conn) {
    struct session *session = conn->session;
    sent_ring_let_go(&session->sent, session->candidate->session->received);
    take_socket(hub, conn);
    stats_add(&hub->stats.sessions_resumed, 1);
    hub_session_log(conn, "resumed", 0);
    hub_session_greet(hub, conn, true);
    struct sent_walk walk = {0};
    struct sent_frame frame;
    while (sent_ring_next(&session->sent, &walk, &frame))
        hub_send_again(hub, conn, &frame);
    hub_send_note_replay(conn);
    hub_timers_start(hub, conn);
    hub_set_paused(hub, conn, false);
}

void hub_session_hook_begins(struct conn *conn) {
    conn->session->resuming = conn->session->candidate->id;
    conn->session->refused = false;
}

void hub_refuse_resume(struct hub *hub, conn_id id) {
    struct conn *conn = hub_find(hub, id);
    if (conn != NULL && conn->session != NULL)
        conn->session->refused = true;
}

void hub_session_hook_ended(struct hub *hub, struct conn *conn) {
    struct session *session = conn->session;
    struct conn *candidate = session->candidate;
    conn_id was = session->resuming;
    session->resuming = 0;
    if (!conn_waits(conn))
        return;
    if (session->refused) {
        stats_add(&hub->stats.sessions_not_resumed, 1);
        hub_session_end(hub, conn, "session not resumed");
    } else if (candidate == NULL || candidate->id != was) {
        /* that socket is gone again */
        conn->due |= DUE_DISCONNECT;
        session->lost_code = candidate == NULL ? CLOSE_ABNORMAL : CLOSE_REPLACED;
    } else if (!sent_ring_reaches(&session->sent, candidate->session->received)) {
        stats_add(&hub->stats.sessions_not_resumed, 1);
        hub_session_end(hub, conn, "too much was sent meanwhile");
    } else {
        resume(hub, conn);
    }
}

bool hub_is_connected(struct hub *hub, conn_id id) {
    const struct conn *conn = hub_find(hub, id);
    return conn != NULL && conn->state == CONN_OPEN &&
           (conn->peer != NULL || (conn->session != NULL && conn->session->resuming != 0));
}

/* ---- the candidate does not get the session ---- */

/* The candidate's socket is gone, or another connection has it. */
static void drop_candidate(struct hub *hub, struct conn *conn) {
    conn->session->candidate = NULL;
    conn->due &= (uint8_t)~DUE_RESUME;
    if (!conn_waits(conn))
        return;
    conn->session->ends_at_ms = hub_now(hub) + conn->endpoint->resume_ms;
    hub_timers_arm(hub, conn);
}

void hub_session_candidate_gone(struct hub *hub, const struct conn *candidate) {
    struct conn *conn = hub_find(hub, candidate->session->returns_to);
    if (conn != NULL && conn->session != NULL && conn->session->candidate == candidate)
        drop_candidate(hub, conn);
}

void hub_session_turn_away(struct hub *hub, struct conn *conn, unsigned code, const char *reason) {
    struct conn *candidate = conn->session->candidate;
    if (candidate == NULL)
        return;
    drop_candidate(hub, conn);
    turn_away(hub, candidate, code, reason);
}

/* It begins its own at the end of the turn: a walk over receivers may be under way. */
void hub_session_release_candidate(struct hub *hub, struct conn *conn) {
    struct conn *candidate = conn->session->candidate;
    if (candidate == NULL)
        return;
    conn->session->candidate = NULL;
    conn->due &= (uint8_t)~DUE_RESUME;
    candidate->session->returns_to = 0;
    limit_take_anyway(candidate->endpoint->limit); /* its session had the place */
    hub_schedule(hub, candidate);
}

void hub_session_begin_late(struct hub *hub, struct conn *candidate) {
    hub_mail_announce(hub, candidate);
    candidate->session->has_end = hub->wire->has_end(candidate->peer);
    hub_begin(hub, candidate);
    hub_set_paused(hub, candidate, false);
    if (hub->draining && hub->drain == NULL)
        hub_close_begin(hub, candidate, CLOSE_GOING_AWAY, slice_of("going away"), false);
}
