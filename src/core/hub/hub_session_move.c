/* hub_session_move.c -- a session goes to another machine of the cluster, or comes from one.
 *
 * The link asks for it when its client has come back to another machine (enum session_step). Here,
 * on the way out: the session loses its socket and comes to rest; when the other machine listens to
 * its rooms, it becomes bytes (hub_session_save.c), in one step in the order of the bus, and is no
 * member or session of this machine any more. The connection stays without either until the link
 * says that the other machine has the session, and is freed without on_close; where none has it,
 * on_close follows. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

#include "base/mem.h"

static void report(struct hub *hub, const struct conn *conn, enum session_step step,
                   struct slice body) {
    bus_session_news(hub->options.bus, conn->id, step, body);
}

static void report_only(struct hub *hub, const struct conn *conn, enum session_step step) {
    report(hub, conn, step, (struct slice){NULL, 0});
}

static bool is_at_rest(const struct conn *conn) {
    return conn_waits(conn) && !conn->busy && conn->due == 0 && inbox_empty(conn->inbox) &&
           conn->session->candidate == NULL && conn->session->resuming == 0;
}

void hub_session_stay(struct hub *hub, struct conn *conn) {
    struct session *session = conn->session;
    if (session->move == MOVE_NONE || session->move == MOVE_GIVEN)
        return;
    session->move = MOVE_NONE;
    report_only(hub, conn, SESSION_CANNOT);
}

/* ---- out ---- */

static void rest(struct hub *hub, struct conn *conn) {
    struct session *session = conn->session;
    static const struct slice why = {"replaced", 8};
    if (conn->peer != NULL && !hub_session_close_socket(hub, conn, CLOSE_REPLACED, why, false)) {
        report_only(hub, conn, SESSION_CANNOT);
        return;
    }
    hub_session_turn_away(hub, conn, CLOSE_REPLACED, why.bytes);
    session->arrived -= inbox_count(conn->inbox); /* the client sends it again */
    inbox_free(conn->inbox);
    conn->inbox = NULL;
    hub_limits_count(hub, conn);
    if (conn->busy)
        hub_asks_over(hub, conn, true);
    session->move = MOVE_RESTING;
    hub_schedule(hub, conn);
}

static void report_rooms(struct hub *hub, const struct conn *conn) {
    struct buffer names = {0};
    struct buffer_sink out = buffer_sink_of(&names);
    for (const struct member *member = conn->rooms; member != NULL; member = member->next)
        pack_text(&out.sink, member->room->entry.key.bytes, member->room->entry.key.len);
    report(hub, conn, SESSION_RESTED, (struct slice){buffer_start(&names), names.len});
    buffer_free(&names);
}

/* The session is packed: it is none of this machine any more. */
static void leave(struct hub *hub, struct conn *conn) {
    conn->session->move = MOVE_GIVEN;
    conn->session->is_gone = true;
    hub_session_over(hub, conn);
    hub_timers_stop(hub, conn);
    hub_rooms_leave_all(hub, conn);
    hub_mail_withdraw(hub, conn);
    conn->state = CONN_CLOSING;
    conn->due = 0;
    conn_id_give_text(conn->id);
}

/* Packs it, with what was sent to it before this moment of the bus's order. */
static void give(struct hub *hub, struct conn *conn) {
    conn_id id = conn->id;
    hub_mail_deliver(hub, bus_session_cut(hub->options.bus, hub->options.worker, id));
    conn = hub_find(hub, id);
    if (conn == NULL || conn->session == NULL || conn->session->move != MOVE_GIVING)
        return;
    if (!is_at_rest(conn)) {
        hub_session_stay(hub, conn);
        return;
    }
    struct buffer session = {0}, whole = {0};
    struct buffer_sink packed = buffer_sink_of(&session), out = buffer_sink_of(&whole);
    hub_session_save(hub, conn, &packed.sink);
    pack_text(&out.sink, buffer_start(&session), session.len);
    if (hub->events->given(hub->events_user, conn, &out.sink)) {
        leave(hub, conn);
        report(hub, conn, SESSION_GIVEN, (struct slice){buffer_start(&whole), whole.len});
    } else {
        hub_session_stay(hub, conn);
    }
    buffer_free(&session);
    buffer_free(&whole);
}

void hub_session_go_on(struct hub *hub, struct conn *conn) {
    struct session *session = conn->session;
    if (session->move == MOVE_RESTING && is_at_rest(conn)) {
        session->move = MOVE_RESTED;
        report_rooms(hub, conn);
    } else if (session->move == MOVE_GIVING) {
        give(hub, conn);
    }
}

/* May its client still count the messages of an earlier session? The other machine could not tell:
 * the bytes do not say it. */
static bool is_doubtful(const struct session *session) {
    return session->received > 0 && session->arrived == 0 && !session->is_acknowledged;
}

void hub_session_take_step(struct hub *hub, conn_id id, enum session_step step) {
    struct conn *conn = hub_find(hub, id);
    struct session *session = conn == NULL ? NULL : conn->session;
    enum session_move move = session == NULL ? MOVE_NONE : (enum session_move)session->move;
    switch (step) {
    case SESSION_REST:
        if (move != MOVE_NONE)
            break;
        if (conn != NULL && hub_session_can_wait(hub, conn) && !is_doubtful(session))
            rest(hub, conn);
        else
            bus_session_news(hub->options.bus, id, SESSION_CANNOT, (struct slice){NULL, 0});
        break;
    case SESSION_KEEP:
        if (move != MOVE_NONE && move != MOVE_GIVEN)
            session->move = MOVE_NONE;
        break;
    case SESSION_GIVE:
        if (move == MOVE_RESTED) {
            session->move = MOVE_GIVING;
            hub_schedule(hub, conn);
        }
        break;
    case SESSION_TAKEN:
        if (move == MOVE_GIVEN)
            hub_abandon(hub, conn);
        break;
    case SESSION_LOST:
        if (move != MOVE_GIVEN)
            break;
        session->move = MOVE_NONE;
        hub_close_waiting(hub, conn, session->lost_code,
                          slice_of("session lost on its way to another machine"));
        break;
    default:
        break;
    }
}

/* ---- in ---- */

bool hub_can_fetch(const struct hub *hub, struct slice secret) {
    struct bus *bus = hub->options.bus;
    if (bus == NULL || !bus_link_reaches(bus) || hub->draining ||
        sessions_find(bus_sessions(bus), secret) != 0)
        return false;
    for (uint32_t i = 0; i < hub->endpoint_count; i++)
        if (hub->endpoints[i]->resume_ms > 0)
            return true;
    return false;
}

void hub_fetch(struct hub *hub, uint64_t handshake, struct slice secret) {
    hub->events->fetch(hub->events_user, handshake, secret);
}

struct conn *hub_session_receive(struct hub *hub, struct slice session, const char **why_not) {
    struct slice text;
    *why_not = "damaged";
    if (hub->options.bus == NULL || !hub_session_is_one(session) ||
        !hub_session_old_id(session, &text))
        return NULL;
    hub_mail_deliver(hub, bus_session_open(hub->options.bus, hub->options.worker, text));
    struct conn *conn = hub_session_restore(hub, session, why_not);
    if (conn != NULL && conn->session != NULL)
        conn->session->has_text = true;
    return conn;
}

/* A message of its own for what the ring has. */
static struct message *message_of(const struct sent_frame *frame) {
    return frame->message != NULL
               ? message_ref(frame->message)
               : message_new(frame->opcode, frame->payload.bytes, frame->payload.len);
}

void hub_session_insert(struct hub *hub, struct conn *conn, uint64_t after,
                        struct message *const *messages, uint32_t count) {
    struct session *session = conn->session;
    struct sent_ring before = session->sent;
    uint64_t number = sent_ring_oldest(&before);
    struct sent_walk walk = {0};
    bool is_inserted = false;
    session->sent = (struct sent_ring){.last = number - 1};
    for (struct sent_frame frame;;) {
        bool has_next = sent_ring_next(&before, &walk, &frame);
        if (!is_inserted && (!has_next || number > after)) {
            for (uint32_t i = 0; i < count; i++)
                sent_ring_push(&session->sent, message_ref(messages[i]));
            is_inserted = true;
        }
        if (!has_next)
            break;
        sent_ring_push(&session->sent, message_of(&frame));
        number++;
    }
    sent_ring_clear(&before);
    hub_session_make_room(hub, conn, 0);
}

uint64_t hub_session_restored_last(const struct conn *conn) {
    return conn->session->restored;
}
