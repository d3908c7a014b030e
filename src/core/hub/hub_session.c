/* hub_session.c -- sessions: connections that outlive their sockets.
 *
 * A session is an open connection, with its place in rooms, its script's object and its timers.
 * What it sends is numbered and kept, until the client acknowledges it, and the client's messages
 * are counted. When the socket is lost the session waits without one. When its client is back
 * (hub_session_return.c), both sides say how many messages they have got, and each sends the rest.
 * A socket that the session gives up, because of its Close frame or for a newer one, passes to a
 * connection that does nothing but close. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

#include "base/log/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct slice secret_of(const struct session *session) {
    return (struct slice){session->secret, session->secret_len};
}

static struct session *session_new(struct conn *conn, struct slice secret) {
    struct session *session = mem_zalloc(sizeof *session + secret.len);
    session->conn = conn;
    session->secret_len = (uint16_t)secret.len;
    memcpy(session->secret, secret.bytes, secret.len);
    list_init(&session->waiting);
    return session;
}

static struct sessions *sessions_of(struct hub *hub) {
    if (hub->options.bus != NULL)
        return bus_sessions(hub->options.bus);
    if (hub->sessions == NULL)
        hub->sessions = sessions_new();
    return hub->sessions;
}

void hub_session_log(const struct conn *conn, const char *event, unsigned code) {
    struct log_line line;
    if (!log_enabled(LOG_DEBUG))
        return;
    log_begin_limited(&line, LOG_DEBUG, event);
    log_path(&line, conn->endpoint->path);
    log_conn(&line, conn->id);
    log_int(&line, "generation", conn->endpoint->generation);
    if (code != 0)
        log_int(&line, "code", code);
    log_end(&line);
}

/* ---- what was sent ---- */

/* The number of the last message that a socket has taken whole. */
static uint64_t written(const struct conn *conn) {
    const struct session *session = conn->session;
    if (conn->peer == NULL)
        return session->written;
    return session->sent.last - outq_counted(&conn->out);
}

/* Is the oldest message written? Where the queue is much shorter than what is kept, no look at it
 * is needed; of a large message a part is enough then. */
static bool oldest_is_written(const struct conn *conn) {
    const struct sent_ring *sent = &conn->session->sent;
    if (conn->peer != NULL && !conn->compresses && conn->out.bytes < sent->bytes / 2)
        return true;
    return sent_ring_oldest(sent) <= written(conn);
}

/* Must an older message go before one of so many bytes can be kept? One of any size has room alone.
 * A connected session may have a part more, so that many go in one step. */
enum { SPARE_PART = 16 };
static inline bool is_full(const struct conn *conn, size_t len, bool with_spare) {
    const struct sent_ring *sent = &conn->session->sent;
    size_t messages = conn->endpoint->resume_messages, bytes = conn->endpoint->resume_bytes;
    if (with_spare) {
        messages += messages / SPARE_PART;
        bytes += bytes / SPARE_PART;
    }
    return sent->count > 0 && (sent->count >= messages || sent->bytes + len > bytes);
}

static __attribute__((noinline)) enum hub_session_room make_room(struct hub *hub, struct conn *conn,
                                                                 size_t len) {
    struct session *session = conn->session;
    while (is_full(conn, len, false)) {
        if (oldest_is_written(conn)) {
            sent_ring_drop(&session->sent);
        } else if (conn->peer == NULL) {
            hub_session_end(hub, conn, "too much was sent meanwhile");
            return SESSION_OVER;
        } else if (conn->blocked) {
            return hub_send_is_replaying(conn) ? SESSION_ROOM : SESSION_FULL;
        } else {
            hub_send_flush(hub, conn); /* the turn has not ended, the socket may still take it */
        }
    }
    return SESSION_ROOM;
}

enum hub_session_room hub_session_make_room(struct hub *hub, struct conn *conn, size_t len) {
    if (!is_full(conn, len, conn->peer != NULL))
        return SESSION_ROOM;
    return make_room(hub, conn, len);
}

struct sent_entry *hub_session_find(const struct conn *conn, const struct message *message) {
    const struct sent_ring *sent = &conn->session->sent;
    uint64_t first = written(conn) + 1;
    if (conn->out.sent > 0 && !conn->out.ring[conn->out.first]->is_uncounted)
        first++; /* a part of it is written */
    struct sent_entry *entry = sent_ring_find(sent, first, message);
    bool fits = entry != NULL &&
                (sent->count == 1 ||
                 sent->bytes - entry->message->len + message->len <= conn->endpoint->resume_bytes);
    return fits ? entry : NULL;
}

/* ---- what the client has got ---- */

/* Does the text begin as an object, and can it have the type of a heartbeat? */
static bool may_be_heartbeat(const char *bytes, size_t len) {
    size_t at = 0;
    while (at < len && strchr(" \t\r\n", bytes[at]) != NULL && bytes[at] != '\0')
        at++;
    return at < len && bytes[at] == '{' &&
           (memmem(bytes, len, "ing\"", 4) != NULL || memchr(bytes, '\\', len) != NULL);
}

void hub_session_dropped(struct hub *hub, struct conn *conn, const char *bytes, size_t len,
                         bool binary) {
    const struct session *session = conn->session;
    uint64_t arrived = session->arrived;
    if (!binary && may_be_heartbeat(bytes, len))
        hub->events->dropped(hub->events_user, conn, bytes, len);
    if (session->arrived == arrived) /* it counts */
        hub_session_keep_place(hub, conn);
}

void hub_session_keep_place(struct hub *hub, struct conn *conn) {
    if (inbox_empty(conn->inbox))
        return;
    inbox_push_handled(conn->inbox);
    hub_limits_count(hub, conn);
    if (hub_asks_inbox_full(conn) || hub_limits_is_much(hub))
        hub_set_paused(hub, conn, true);
}

static uint64_t handled(const struct conn *conn) {
    return conn->session->arrived - inbox_count(conn->inbox);
}

int64_t hub_session_received(const struct conn *conn) {
    return conn->session == NULL ? -1 : (int64_t)handled(conn);
}

int64_t hub_json_heartbeat(struct hub *hub, conn_id id, int64_t received) {
    struct conn *conn = hub_find(hub, id);
    if (conn == NULL || conn->state != CONN_OPEN || conn->session == NULL)
        return -1;
    struct session *session = conn->session;
    session->arrived--;
    session->is_acknowledged |= received >= 0;
    if (received >= 0 && (uint64_t)received <= session->sent.last)
        sent_ring_let_go(&session->sent, (uint64_t)received);
    return hub_session_received(conn);
}

void hub_session_greet(struct hub *hub, struct conn *conn, bool resumed) {
    char text[80];
    int len = snprintf(text, sizeof text,
                       "{\"type\":\"session\",\"resumed\":%s,\"received\":%" PRIu64 "}",
                       resumed ? "true" : "false", handled(conn));
    hub_send_uncounted(hub, conn, OPCODE_TEXT, text, (size_t)len);
}

/* ---- a handshake ---- */

/* Tells other machines where the session is, or that it has ended. */
static void report(struct hub *hub, const struct conn *conn, enum session_step step) {
    const struct session *session = conn->session;
    if (hub->options.bus != NULL && session->is_known && !session->is_gone)
        bus_session_news(hub->options.bus, conn->id, step, secret_of(session));
}

static struct conn *find_session(struct hub *hub, struct slice secret) {
    struct conn *conn = hub_find(hub, sessions_find(sessions_of(hub), secret));
    return conn != NULL && conn->state == CONN_OPEN && conn->session != NULL ? conn : NULL;
}

bool hub_session_exists(struct hub *hub, uint32_t endpoint, struct slice secret) {
    const struct conn *conn = find_session(hub, secret);
    return conn != NULL && conn->endpoint->number == endpoint;
}

/* May this count be of an earlier session? The handshake that has begun this one said the same, and
 * nothing shows that the client has read the answer, that it is a new one. */
static bool is_count_of_earlier(const struct session *session, uint64_t received) {
    return received > 0 && session->received == received && session->arrived == 0 &&
           !session->is_acknowledged;
}

static void set_user(struct session *session, struct slice user) {
    session->user_len = (uint16_t)user.len;
    session->user = user.bytes == NULL ? NULL : memcpy(mem_alloc(user.len), user.bytes, user.len);
}

bool hub_assign_session(struct hub *hub, struct conn *conn, uint32_t number, struct slice secret,
                        int64_t received, struct slice user) {
    struct endpoint *endpoint = hub->endpoints[number];
    if (endpoint->resume_ms == 0 || secret.len == 0)
        return hub_assign(hub, conn, number);
    if (hub->keeps_sessions) /* the next process has them, or will */
        return false;
    hub_take_mail(hub); /* it may end the session */
    conn->session = session_new(conn, secret);
    conn->is_special = true;
    conn->session->received = received < 0 ? 0 : (uint64_t)received;
    const struct conn *known = find_session(hub, secret);
    if (known == NULL || known->endpoint != endpoint || received < 0 ||
        is_count_of_earlier(known->session, (uint64_t)received) ||
        !slice_equal(hub_user_of(known), user) ||
        !sent_ring_reaches(&known->session->sent, (uint64_t)received))
        return hub_assign(hub, conn, number);
    conn->endpoint = endpoint;
    conn->session->returns_to = known->id;
    set_user(conn->session, user);
    return true;
}

conn_id hub_session_replaces(struct hub *hub, const struct conn *conn) {
    const struct conn *known =
        conn->session == NULL ? NULL : find_session(hub, secret_of(conn->session));
    return known == NULL ? 0 : known->id;
}

void hub_session_take_user(struct hub *hub, struct conn *conn) {
    struct session *session = conn->session;
    struct slice user = {session->user, session->user_len};
    if (user.bytes != NULL && !hub_set_user(hub, conn->id, user, true))
        hub_close_begin(hub, conn, CLOSE_TOO_MANY, slice_of(USER_FULL), true);
}

bool hub_session_is_candidate(const struct conn *conn) {
    return conn->session != NULL && conn->session->returns_to != 0;
}

/* The client can come back to this connection from now on, unless it has come back already with a
 * newer socket. */
static void make_known(struct hub *hub, struct conn *conn) {
    struct session *session = conn->session;
    if (session->has_end) { /* its client may have come back with another already */
        session->is_known = sessions_add(sessions_of(hub), secret_of(session), conn->id);
        report(hub, conn, SESSION_BEGAN);
        return;
    }
    struct conn *known = find_session(hub, secret_of(session));
    conn_id other;
    session->is_known =
        sessions_replace(sessions_of(hub), secret_of(session), conn->id, session->asked_ms, &other);
    if (!session->is_known)
        return;
    report(hub, conn, SESSION_BEGAN);
    if (known != NULL && known->peer != NULL)
        hub_close_begin(hub, known, CLOSE_REPLACED, slice_of("replaced"), true);
    else if (known != NULL)
        hub_session_end(hub, known, "session not resumed");
    stats_add(&hub->stats.sessions_not_resumed, known != NULL);
    if (other != 0 && known == NULL && hub->options.bus != NULL) /* another worker has begun one */
        bus_close(hub->options.bus, other, CLOSE_REPLACED, slice_of("replaced"));
}

void hub_session_arrive(struct hub *hub, struct conn *conn, uint64_t quiet_ms, bool has_end) {
    if (conn->session == NULL)
        return;
    uint64_t now = hub->options.slice_ns == NULL ? hub_now(hub) : hub->options.slice_ns() / 1000000;
    conn->session->asked_ms = quiet_ms < now ? now - quiet_ms : now;
    conn->session->has_end = has_end;
    if (!hub_session_is_candidate(conn))
        make_known(hub, conn);
}

/* The payload of a PING behind the session message: its PONG shows that the client has read that.
 */
static const char seen[] = "session";

void hub_session_begin(struct hub *hub, struct conn *conn) {
    if (!conn->session->is_known) /* it was a candidate, or another has the secret */
        make_known(hub, conn);
    if (!conn->session->is_known) {
        hub_close_begin(hub, conn, CLOSE_REPLACED, slice_of("replaced"), true);
        return;
    }
    stats_add(&hub->stats.sessions_begun, 1);
    hub_session_greet(hub, conn, false);
    if (conn->session->received > 0) /* see is_count_of_earlier() */
        hub_send_ping(hub, conn, OPCODE_PING, seen, sizeof seen - 1);
}

void hub_session_pong(struct conn *conn, const char *payload, size_t len) {
    if (len == sizeof seen - 1 && memcmp(payload, seen, len) == 0)
        conn->session->is_acknowledged = true;
}

/* ---- the socket is lost ---- */

bool hub_session_can_wait(const struct hub *hub, const struct conn *conn) {
    return conn->state == CONN_OPEN && conn->session != NULL && conn->session->is_known &&
           conn->endpoint->resume_ms > 0 && (!hub->draining || hub->keeps_sessions);
}

bool hub_session_attach(struct hub *hub, struct conn *conn, struct endpoint *endpoint,
                        struct slice secret) {
    conn->session = session_new(conn, secret);
    conn->is_special = true;
    conn->session->is_known = sessions_add(sessions_of(hub), secret, conn->id);
    if (!conn->session->is_known)
        return false;
    limit_take_anyway(endpoint->limit);
    conn->endpoint = endpoint;
    if (hub->options.limit != NULL) {
        limit_take_anyway(hub->options.limit);
        conn->is_counted = true;
    }
    conn->state = CONN_OPEN;
    hub_mail_announce(hub, conn);
    report(hub, conn, SESSION_BEGAN);
    return true;
}

void hub_session_wait(struct hub *hub, struct conn *conn, unsigned code, uint64_t ms) {
    conn->session->lost_code = (uint16_t)code;
    stats_add(&hub->stats.sessions_waiting, 1);
    sessions_set_waiting(sessions_of(hub), secret_of(conn->session), conn->id, true);
    list_append(&conn->endpoint->waiting, &conn->session->waiting);
    limit_take_anyway(conn->endpoint->all_waiting);
    conn->session->ends_at_ms = hub_now(hub) + ms;
    hub_timers_arm(hub, conn);
    if (conn->session->sent.count > 0)
        hub_queues_note(hub, conn);
}

void hub_session_end_waiting(struct hub *hub, struct conn *conn) {
    if (list_empty(&conn->session->waiting))
        return;
    list_remove(&conn->session->waiting);
    sessions_set_waiting(sessions_of(hub), secret_of(conn->session), conn->id, false);
    limit_release(conn->endpoint->all_waiting);
    stats_add(&hub->stats.sessions_waiting, (uint64_t)-1);
    hub_queues_forget(hub, conn);
}

static struct conn *longest_waiting(const struct endpoint *endpoint) {
    struct session *session = LIST_OWNER(endpoint->waiting.next, struct session, waiting);
    return list_empty(&endpoint->waiting) ? NULL : session->conn;
}

/* While more sessions of the endpoint wait than may, over all workers: those of this worker that
 * have waited longest end. */
static void evict(struct hub *hub, const struct endpoint *endpoint) {
    uint32_t max = endpoint->resume_sessions;
    struct conn *conn;
    while (max > 0 && limit_taken(endpoint->all_waiting) > max &&
           (conn = longest_waiting(endpoint)) != NULL) {
        stats_add(&hub->stats.sessions_evicted, 1);
        hub_session_end(hub, conn, "too many sessions wait");
    }
}

void hub_sessions_end(struct hub *hub, struct endpoint *endpoint) {
    for (struct conn *conn; (conn = longest_waiting(endpoint)) != NULL;)
        hub_session_end(hub, conn, "the endpoint has no sessions any more");
}

/* ---- the memory of all queues ---- */

size_t hub_session_memory(const struct conn *conn) {
    return conn->session == NULL ? 0 : sent_ring_memory(&conn->session->sent);
}

bool hub_session_shrink(struct hub *hub, struct conn *conn) {
    struct session *session = conn->session;
    if (conn->peer == NULL) {
        stats_add(&hub->stats.backlog_closed, 1);
        hub_session_end(hub, conn, "too much waits for sessions");
        return true;
    }
    uint32_t count = session->sent.count;
    sent_ring_let_go(&session->sent, written(conn));
    session->noted = session->sent.bytes;
    return session->sent.count < count;
}

/* The socket and the queue have another owner, or none. */
static void begin_to_wait(struct hub *hub, struct conn *conn, unsigned code) {
    conn->peer = NULL;
    conn->blocked = conn->paused = false;
    list_remove(&conn->dirty);
    hub_limits_gone(hub, conn);
    hub_queues_forget(hub, conn);
    sent_ring_seal(&conn->session->sent);
    conn->kill_at_ms = conn->next_ping_ms = conn->ping_sent_ns = 0;
    conn->due &= (uint8_t) ~(DUE_PING | DUE_TIMEOUT | DUE_DRAIN);
    conn->due |= DUE_DISCONNECT;
    hub_rate_release(conn);
    hub_compress_forget(conn);
    conn->compresses = false;
    conn->replayed = 0;
    stats_add(&hub->stats.connections_closed, 1);
    stats_add(&hub->stats.connections, (uint64_t)-1);
    hub_session_log(conn, "disconnected", code);
    hub_session_wait(hub, conn, code, conn->endpoint->resume_ms);
    hub_schedule(hub, conn);
    evict(hub, conn->endpoint);
}

void hub_session_lost(struct hub *hub, struct conn *conn, unsigned code) {
    conn->session->written = written(conn);
    outq_clear(&conn->out);
    hub_send_forget_pings(conn);
    begin_to_wait(hub, conn, code);
}

struct conn *hub_session_part(struct hub *hub, struct conn *conn, unsigned code) {
    struct conn *closing = hub_new_conn(hub);
    if (closing == NULL)
        return NULL;
    conn->session->written = written(conn);
    closing->endpoint = conn->endpoint;
    closing->refused = true;
    closing->state = CONN_CLOSING;
    closing->peer = conn->peer;
    closing->out = conn->out;
    closing->ping = conn->ping;
    closing->pong = conn->pong;
    closing->blocked = conn->blocked;
    closing->paused = conn->paused;
    closing->kept = conn->kept;
    closing->message_number = conn->message_number;
    closing->is_counted = conn->is_counted;
    if (conn->is_counted) /* the socket counts until it is closed, the session from now on */
        limit_take_anyway(hub->options.limit);
    conn->out = (struct outq){0};
    conn->ping = conn->pong = NULL;
    hub->wire->rebind(closing->peer, closing);
    hub_limits_count(hub, closing);
    begin_to_wait(hub, conn, code);
    return closing;
}

bool hub_session_close_socket(struct hub *hub, struct conn *conn, unsigned code,
                              struct slice reason, bool peer_done) {
    struct conn *closing = hub_session_part(hub, conn, code);
    if (closing == NULL)
        return false;
    closing->peer_done = peer_done;
    outq_drop_unsent(&closing->out); /* the session has it */
    hub_set_paused(hub, closing, false);
    hub_close_refuse(hub, closing, code, reason);
    return true;
}

/* ---- the end ---- */

void hub_session_end(struct hub *hub, struct conn *conn, const char *reason) {
    hub_session_release_candidate(hub, conn);
    hub_close_waiting(hub, conn, conn->session->lost_code, slice_of(reason));
}

void hub_session_expire(struct hub *hub, struct conn *conn) {
    stats_add(&hub->stats.sessions_expired, 1);
    hub_session_end(hub, conn, "session expired");
}

void hub_session_over(struct hub *hub, struct conn *conn) {
    struct session *session = conn->session;
    if (session == NULL)
        return;
    hub_session_stay(hub, conn);
    if (session->is_known) {
        sessions_remove(sessions_of(hub), secret_of(session), conn->id);
        report(hub, conn, SESSION_ENDED);
    }
    session->is_known = false;
    hub_session_end_waiting(hub, conn);
    sent_ring_clear(&session->sent);
}

void hub_session_forget(struct hub *hub, struct conn *conn) {
    if (conn->session == NULL)
        return;
    hub_session_candidate_gone(hub, conn);
    hub_session_over(hub, conn);
    if (conn->session->has_text)
        conn_id_forget_text(conn->id);
    mem_free(conn->session->user);
    mem_free(conn->session);
    conn->session = NULL;
}
