/* hub_session_save.c -- sessions that outlive the process: they come to rest, without a socket and
 * without a hook, and are bytes then, of which this process or a later one makes sessions again.
 * See hub.h.
 *
 * The bytes, in this order: the id, as text; the endpoint's path and the kind of its codec; the
 * secret; the milliseconds until the end; the code of the lost socket; the number of the client's
 * messages that were handled; the numbers of the last message that was sent and of the last that a
 * socket has taken; the messages that are kept, each with its opcode, flags, payload and key; the
 * rooms, each with its name and info, that of its user among them. */
#include "core/hub/hub_internal.h"

#include "base/mem.h"

#include <string.h>

enum { STAYS_PLAIN = 0x80 };

/* ---- they come to rest ---- */

void hub_keep_sessions(struct hub *hub) {
    hub->keeps_sessions = true;
}

bool hub_detach_sessions(struct hub *hub) {
    uint32_t at = 0, waiting = 0;
    hub->keeps_sessions = true;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;) {
        hub_session_keep(hub, conn);
        waiting += conn_waits(conn);
    }
    return hub_sessions_at_rest(hub) == waiting;
}

void hub_attach_sessions(struct hub *hub) {
    hub->keeps_sessions = false;
}

bool hub_session_keep(struct hub *hub, struct conn *conn) {
    if (!hub->keeps_sessions || !hub_session_can_wait(hub, conn))
        return false;
    if (conn->peer != NULL)
        return hub_session_close_socket(hub, conn, CLOSE_RESTART, slice_of("restart"), false);
    hub_session_turn_away(hub, conn, CLOSE_RESTART, "restart");
    return true;
}

uint32_t hub_sessions_at_rest(const struct hub *hub) {
    uint32_t at = 0, count = 0;
    for (const struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
        count += conn_waits(conn) && !conn->busy && conn->due == 0 && inbox_empty(conn->inbox);
    return count;
}

/* ---- out ---- */

void hub_sessions(struct hub *hub, void (*f)(void *user, struct conn *conn), void *user) {
    uint32_t at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
        if (conn_waits(conn) && conn->session->is_known)
            f(user, conn);
}

/* A custom codec has the same name in each process, that of its endpoint. */
static uint32_t codec_kind(const struct endpoint *endpoint) {
    return endpoint->codec < CODEC_CUSTOM ? endpoint->codec : CODEC_CUSTOM;
}

static void pack_message(struct sink *out, const struct sent_frame *frame) {
    static const struct slice none = {NULL, 0};
    const struct message *message = frame->message;
    struct slice key = message == NULL ? none : message_key(message);
    bool stays_plain = message != NULL && message->stays_plain;
    pack_number(out, frame->opcode | (stays_plain ? STAYS_PLAIN : 0u));
    pack_text(out, frame->payload.bytes, frame->payload.len);
    pack_text(out, key.bytes, key.len);
}

void hub_session_save(struct hub *hub, const struct conn *conn, struct sink *out) {
    const struct session *session = conn->session;
    const char *path = conn->endpoint->path;
    uint64_t now = hub_now(hub), end = session->ends_at_ms;
    char id[CONN_ID_LEN + 1];
    conn_id_format(id, conn->id);
    pack_text(out, id, CONN_ID_LEN);
    pack_text(out, path, path == NULL ? 0 : strlen(path));
    pack_number(out, codec_kind(conn->endpoint));
    pack_text(out, session->secret, session->secret_len);
    pack_number(out, end == 0 ? conn->endpoint->resume_ms : end > now ? end - now : 0);
    pack_number(out, session->lost_code);
    pack_number(out, (uint64_t)hub_session_received(conn));
    pack_number(out, session->sent.last);
    pack_number(out, session->written);
    pack_number(out, session->sent.count);
    struct sent_walk walk = {0};
    for (struct sent_frame frame; sent_ring_next(&session->sent, &walk, &frame);)
        pack_message(out, &frame);
    uint32_t rooms = 0;
    for (const struct member *member = conn->rooms; member != NULL; member = member->next)
        rooms++;
    pack_number(out, rooms);
    for (const struct member *member = conn->rooms; member != NULL; member = member->next) {
        struct slice name = member->room->entry.key;
        pack_text(out, name.bytes, name.len);
        pack_text(out, member->info, member->info == NULL ? 0 : strlen(member->info));
    }
}

/* ---- in ---- */

/* What stands before the messages. */
struct head {
    struct slice id, path, secret;
    uint64_t codec, ms, code, handled, last, written, messages;
};

static bool unpack_head(struct slice *from, struct head *head) {
    return unpack_text(from, &head->id) && head->id.len == CONN_ID_LEN &&
           unpack_text(from, &head->path) && unpack_number(from, &head->codec) &&
           unpack_text(from, &head->secret) && head->secret.len >= SESSION_SECRET_MIN &&
           head->secret.len <= SESSION_SECRET_MAX && unpack_number(from, &head->ms) &&
           unpack_number(from, &head->code) && head->code <= CLOSE_LAST &&
           unpack_number(from, &head->handled) && unpack_number(from, &head->last) &&
           unpack_number(from, &head->written) && head->written <= head->last &&
           unpack_number(from, &head->messages) && head->messages <= head->last;
}

/* `sent` is NULL: only checks. */
static bool unpack_message(struct slice *from, struct sent_ring *sent) {
    uint64_t flags;
    struct slice payload, key;
    if (!unpack_number(from, &flags) || !unpack_text(from, &payload) || !unpack_text(from, &key) ||
        key.len > MESSAGE_KEY_MAX)
        return false;
    uint64_t opcode = flags & ~(uint64_t)STAYS_PLAIN;
    if (opcode != OPCODE_TEXT && opcode != OPCODE_BINARY)
        return false;
    if (sent == NULL)
        return true;
    if (key.len == 0 && !(flags & STAYS_PLAIN)) {
        size_t offset;
        sent_ring_append(sent, (enum opcode)opcode, payload.bytes, payload.len, &offset);
        return true;
    }
    struct message *message =
        message_new_keyed((enum opcode)opcode, payload.bytes, payload.len, key);
    message->stays_plain = (flags & STAYS_PLAIN) != 0;
    sent_ring_push(sent, message);
    return true;
}

/* `conn` is NULL: only checks. */
static bool unpack_rooms(struct hub *hub, struct slice *from, struct conn *conn) {
    uint64_t count;
    if (!unpack_number(from, &count))
        return false;
    for (; count > 0; count--) {
        struct slice name, info;
        if (!unpack_text(from, &name) || name.len == 0 || !unpack_text(from, &info))
            return false;
        if (is_user_room(name) &&
            (user_of_room(name).len == 0 || user_of_room(name).len > USER_NAME_MAX))
            return false;
        if (conn != NULL && is_user_room(name))
            hub_set_user(hub, conn->id, user_of_room(name), false);
        else if (conn != NULL)
            hub_join(hub, conn->id, name, info);
    }
    return true;
}

bool hub_session_is_one(struct slice from) {
    struct head head;
    if (!unpack_head(&from, &head))
        return false;
    for (uint64_t i = 0; i < head.messages; i++)
        if (!unpack_message(&from, NULL))
            return false;
    return unpack_rooms(NULL, &from, NULL) && from.len == 0;
}

bool hub_session_old_id(struct slice from, struct slice *id) {
    return unpack_text(&from, id) && id->len == CONN_ID_LEN;
}

static struct endpoint *find_endpoint(const struct hub *hub, struct slice path) {
    for (uint32_t i = 0; i < hub->endpoint_count; i++)
        if (hub->endpoints[i]->path != NULL && slice_is(path, hub->endpoints[i]->path))
            return hub->endpoints[i];
    return NULL;
}

struct conn *hub_session_restore(struct hub *hub, struct slice from, const char **why_not) {
    struct head head;
    if (!unpack_head(&from, &head)) {
        *why_not = "damaged";
        return NULL;
    }
    struct endpoint *endpoint = find_endpoint(hub, head.path);
    if (endpoint == NULL || endpoint->resume_ms == 0 || codec_kind(endpoint) != head.codec) {
        *why_not = endpoint == NULL           ? "no such endpoint"
                   : endpoint->resume_ms == 0 ? "its endpoint has no sessions"
                                              : "its endpoint has another codec";
        return NULL;
    }
    struct conn *conn = hub_new_conn(hub);
    *why_not = "there is another session with its secret";
    if (conn == NULL)
        return NULL;
    conn_id_keep_text(head.id.bytes, conn->id); /* before others learn of it */
    if (!hub_session_attach(hub, conn, endpoint, head.secret)) {
        conn_id_forget_text(conn->id);
        hub_abandon(hub, conn);
        return NULL;
    }
    struct session *session = conn->session;
    session->sent.last = head.last - head.messages;
    for (uint64_t i = 0; i < head.messages; i++)
        unpack_message(&from, &session->sent);
    session->restored = session->sent.last;
    session->arrived = head.handled;
    session->written = head.written;
    hub_session_wait(hub, conn, (unsigned)head.code, head.ms);
    unpack_rooms(hub, &from, conn);
    return conn;
}
