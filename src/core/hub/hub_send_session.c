/* hub_send_session.c -- sends to sessions: what is queued is numbered and kept as well.
 *
 * A payload is copied once, into a run that the queue and the session share (sent_ring.h). What has
 * permessage-deflate is kept plain, because the next socket may have none. Also replays, which
 * max_backlog does not count, and the messages that a session does not count. */
#include "core/hub/hub_internal.h"

/* The form of a message of a session, for its socket. */
static struct message *form_of(struct hub *hub, struct conn *conn, struct message *message) {
    return conn->compresses ? hub_compress_form(hub, conn, message) : message_ref(message);
}

/* Replaces a message that waits for the client of a session, in its queue too. Takes over the
 * reference if it returns true. */
static bool replace_counted(struct hub *hub, struct conn *conn, struct message *message) {
    struct sent_entry *entry = hub_session_find(conn, message);
    if (entry == NULL)
        return false;
    struct message *form = conn->peer == NULL ? NULL : form_of(hub, conn, message);
    if (form != NULL && !outq_replace(&conn->out, form, conn->endpoint->max_backlog)) {
        message_unref(form);
        return false;
    }
    sent_ring_replace(&conn->session->sent, entry, message);
    return true;
}

/* What a session keeps may be much, though its client reads. */
static inline void note_kept(struct hub *hub, struct conn *conn) {
    enum { FIRST = 16 * 1024 };
    struct session *session = conn->session;
    if (__builtin_expect(session->sent.bytes <= session->noted * 2 + FIRST, 1))
        return;
    session->noted = session->sent.bytes;
    hub_queues_note(hub, conn);
}

/* Is there room for a message of a session, in its queue and among what it keeps? */
static inline enum send_result admit_counted(struct hub *hub, struct conn *conn, size_t len) {
    switch (hub_session_make_room(hub, conn, len)) {
    case SESSION_FULL:
        return hub_send_refuse_slow(hub, conn);
    case SESSION_OVER:
        return SEND_CLOSED;
    case SESSION_ROOM:
        break;
    }
    if (conn->peer != NULL)
        return hub_send_admit(hub, conn, len);
    stats_add(&hub->stats.messages_sent, 1);
    return SEND_OK;
}

/* Queues a message for the socket of a session; takes over the reference. */
static void push_form(struct hub *hub, struct conn *conn, struct message *form) {
    if (message_is_compressed(form))
        hub_compress_done(hub, conn, true);
    hub_send_push(hub, conn, form);
}

/* The same of a payload. */
static __attribute__((noinline)) void push_payload(struct hub *hub, struct conn *conn,
                                                   enum opcode opcode, const void *payload,
                                                   size_t len) {
    static const struct slice no_key = {NULL, 0};
    struct message *form =
        conn->compresses ? hub_compress_payload(hub, conn, opcode, payload, len, no_key) : NULL;
    if (form != NULL) {
        push_form(hub, conn, form);
        return;
    }
    outq_append_counted(&conn->out, opcode, payload, len, conn->blocked ? NULL : &hub->spare_runs);
    hub_send_queued(hub, conn);
}

enum send_result hub_send_session_deliver(struct hub *hub, struct conn *conn,
                                          struct message *message) {
    if (message->key_len > 0 && hub_send_conflates(conn) && replace_counted(hub, conn, message)) {
        note_kept(hub, conn);
        return hub_send_replaced(hub, conn);
    }
    enum send_result result = admit_counted(hub, conn, message->len);
    if (result != SEND_OK) {
        message_unref(message);
        return result;
    }
    sent_ring_push(&conn->session->sent, message);
    note_kept(hub, conn);
    if (conn->peer != NULL)
        push_form(hub, conn, form_of(hub, conn, message));
    return SEND_OK;
}

enum send_result hub_send_session(struct hub *hub, struct conn *conn, enum opcode opcode,
                                  const void *payload, size_t len) {
    enum send_result result = admit_counted(hub, conn, message_frame_size(len));
    if (result != SEND_OK)
        return result;
    /* where the queue has something behind the newest run, the run must not grow in it */
    if (!outq_empty(&conn->out) && !conn->compresses &&
        !outq_ends_with(&conn->out, sent_ring_newest(&conn->session->sent)))
        conn->session->sent.is_sealed = true;
    size_t offset;
    if (outq_empty(&conn->out))
        sent_ring_start(&conn->session->sent);
    struct message *run = sent_ring_append(&conn->session->sent, opcode, payload, len, &offset);
    note_kept(hub, conn);
    if (conn->peer == NULL)
        return SEND_OK;
    if (!conn->compresses && outq_push_rest(&conn->out, run, offset)) {
        hub_send_queued(hub, conn);
    } else {
        push_payload(hub, conn, opcode, payload, len);
    }
    return SEND_OK;
}

void hub_send_again(struct hub *hub, struct conn *conn, const struct sent_frame *frame) {
    if (frame->message != NULL)
        push_form(hub, conn, form_of(hub, conn, frame->message));
    else
        push_payload(hub, conn, frame->opcode, frame->payload.bytes, frame->payload.len);
}

void hub_send_note_replay(struct conn *conn) {
    if (conn->out.bytes <= conn->endpoint->max_backlog / 2)
        return;
    conn->replayed = conn->out.bytes;
    conn->was_slow = true; /* what is left of `replayed` ends with the queue */
}

bool hub_send_is_replaying(struct conn *conn) {
    if (conn->replayed > conn->out.bytes)
        conn->replayed = conn->out.bytes;
    return conn->replayed > 0;
}

bool hub_send_replay(struct hub *hub, struct conn *conn, struct message *message) {
    if (conn->session != NULL) {
        if (hub_session_make_room(hub, conn, message->len) == SESSION_OVER)
            return false;
        sent_ring_push(&conn->session->sent, message_ref(message));
    }
    stats_add(&hub->stats.messages_sent, 1);
    if (conn->peer == NULL)
        return true;
    push_form(hub, conn, form_of(hub, conn, message));
    conn->replayed += message->len;
    if (conn->out.bytes > conn->endpoint->max_backlog / 2)
        conn->was_slow = true; /* what is left of `replayed` ends with the queue */
    return true;
}

void hub_send_uncounted(struct hub *hub, struct conn *conn, enum opcode opcode, const void *payload,
                        size_t len) {
    struct message *message = message_new(opcode, payload, len);
    message->is_uncounted = true;
    hub_send_push(hub, conn, message);
}

enum send_result hub_send_heartbeat(struct hub *hub, conn_id id, const char *text, size_t len) {
    struct conn *conn = hub_find(hub, id);
    if (!conn_is_open(conn) || conn->session == NULL)
        return hub_send(hub, conn, OPCODE_TEXT, text, len);
    if (conn->peer == NULL)
        return SEND_CLOSED;
    enum send_result result = hub_send_admit(hub, conn, message_frame_size(len));
    if (result == SEND_OK)
        hub_send_uncounted(hub, conn, OPCODE_TEXT, text, len);
    return result;
}
