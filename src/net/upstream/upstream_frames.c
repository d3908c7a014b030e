/* upstream_frames.c -- frames and messages of a connection to another server. See
 * upstream_parts.h.
 *
 * What is sent waits in `out` until the end of the turn, what is received in `inbox` until the
 * script takes it. */
#include "base/mem.h"
#include "base/utf8.h"
#include "net/upstream/upstream_parts.h"

#include <string.h>

enum {
    PONG_BACKLOG = 4 * 1024, /* with more bytes waiting, only the last ping is answered */
    CLOSE_MS = 3000,         /* for the server's Close frame after ours */
    LINGER_MS = 1000         /* for the end of TCP after both */
};

/* ---- out ---- */

static void want_flush(struct upstream *upstream) {
    if (list_empty(&upstream->unwritten))
        list_append(&upstream->shared->unwritten, &upstream->unwritten);
}

static void add_frame(struct upstream *upstream, enum opcode opcode, const void *payload,
                      size_t len) {
    size_t capacity = upstream->out.capacity;
    unsigned char *room = buffer_room(&upstream->out, len + WS_CLIENT_HEADER_BYTES);
    queue_memory_add(upstream->out.capacity - capacity);
    upstream->out.len += ws_client_frame(room, opcode, payload, len);
    want_flush(upstream);
}

void upstream_frames_write(struct upstream *upstream) {
    struct buffer *out = &upstream->out;
    if (upstream->socket == NULL || upstream->step == STEP_CONNECTING)
        return;
    size_t sent = upstream_socket_write(upstream->socket, buffer_start(out), out->len);
    buffer_drop(out, sent);
    if (upstream->pong_waits && out->len <= PONG_BACKLOG) {
        upstream->pong_waits = false;
        add_frame(upstream, OPCODE_PONG, upstream->pong, upstream->pong_len);
    }
    if (out->len > 0) {
        upstream_socket_want_write(upstream->socket);
        return;
    }
    upstream_free_out(upstream); /* it may have been large */
    if (upstream->step == STEP_OPEN)
        upstream_ready(upstream, UPSTREAM_FLUSHED);
}

void upstream_flush(struct upstream *upstream) {
    list_remove(&upstream->unwritten);
    list_init(&upstream->unwritten);
    upstream_frames_write(upstream);
}

static void add_close(struct upstream *upstream, unsigned code, const char *reason, size_t len) {
    unsigned char payload[CONTROL_MAX];
    payload[0] = (unsigned char)(code >> 8);
    payload[1] = (unsigned char)code;
    if (len > 0)
        memcpy(payload + 2, reason, len);
    add_frame(upstream, OPCODE_CLOSE, payload, code == CLOSE_NO_STATUS ? 0 : len + 2);
    upstream->pong_waits = false; /* a Close frame is the last frame */
}

static void answer_ping(struct upstream *upstream, const struct frame *frame) {
    if (upstream->out.len <= PONG_BACKLOG) {
        add_frame(upstream, OPCODE_PONG, frame->payload, frame->len);
        return;
    }
    memcpy(upstream->pong, frame->payload, frame->len); /* RFC 6455 section 5.5.3: the last one */
    upstream->pong_len = (uint8_t)frame->len;
    upstream->pong_waits = true;
}

/* ---- closing ---- */

static void resume(struct upstream *upstream) {
    if (upstream->paused)
        upstream_socket_pause(upstream->socket, false);
    upstream->paused = false;
}

/* The server has broken a rule, or is gone: nothing more is expected from it. */
static void fail(struct upstream *upstream, unsigned code, const char *reason) {
    add_close(upstream, code, reason, strlen(reason));
    resume(upstream); /* unread bytes would make the system drop our Close frame */
    upstream_set_step(upstream, STEP_LINGERING, LINGER_MS);
    upstream_set_closed(upstream, code, reason, strlen(reason));
}

static void on_close_frame(struct upstream *upstream, const struct frame *frame) {
    unsigned code;
    const char *reason;
    size_t len;
    if (!frame_reader_close_valid(frame->payload, frame->len, &code, &reason, &len)) {
        if (upstream->step == STEP_OPEN)
            fail(upstream, CLOSE_PROTOCOL, "invalid Close frame");
        else
            upstream_set_step(upstream, STEP_LINGERING, LINGER_MS);
        return;
    }
    if (upstream->step == STEP_OPEN)
        add_close(upstream, code, "", 0);
    resume(upstream);
    upstream_set_step(upstream, STEP_LINGERING, LINGER_MS);
    upstream_set_closed(upstream, code, reason, len);
}

void upstream_frames_close(struct upstream *upstream, unsigned code, const char *reason,
                           size_t len) {
    add_close(upstream, code, reason, len);
    upstream_set_code(upstream, code, reason, len);
    resume(upstream); /* the server's Close frame is awaited */
    upstream_set_step(upstream, STEP_CLOSING, CLOSE_MS);
}

void upstream_frames_ping(struct upstream *upstream) {
    add_frame(upstream, OPCODE_PING, "", 0);
}

/* ---- messages in ---- */

static void set_paused(struct upstream *upstream, bool paused) {
    if (upstream->paused == paused || upstream->step != STEP_OPEN)
        return;
    upstream->paused = paused;
    upstream_socket_pause(upstream->socket, paused);
    upstream->received_ms = upstream_now_ms(upstream); /* silence counts from here */
    upstream_arm(upstream);
}

static void on_message(struct upstream *upstream, const struct frame *frame, bool binary) {
    if (!binary && !utf8_valid(frame->payload, frame->len)) {
        fail(upstream, CLOSE_BAD_PAYLOAD, "text is not valid UTF-8");
        return;
    }
    struct upstream_message *waiting = mem_alloc(sizeof *waiting + frame->len);
    waiting->len = frame->len;
    waiting->binary = binary;
    memcpy(waiting->bytes, frame->payload, frame->len);
    list_append(&upstream->inbox, &waiting->link);
    upstream->inbox_bytes += sizeof *waiting + frame->len;
    stats_add(&upstream->shared->stats->upstream_messages_received, 1);
    if (upstream->inbox_bytes >= upstream->max_inbox)
        set_paused(upstream, true);
    upstream_ready(upstream, UPSTREAM_MESSAGE);
}

static void on_frame(struct upstream *upstream, enum frame_kind kind, const struct frame *frame) {
    if (upstream->step == STEP_CLOSING && kind != FRAME_CLOSE && kind != FRAME_ERROR)
        return;
    switch (kind) {
    case FRAME_TEXT:
    case FRAME_BINARY:
        on_message(upstream, frame, kind == FRAME_BINARY);
        break;
    case FRAME_PING:
        answer_ping(upstream, frame);
        break;
    case FRAME_CLOSE:
        on_close_frame(upstream, frame);
        break;
    case FRAME_ERROR:
        if (upstream->step == STEP_OPEN)
            fail(upstream, frame->code, frame->why);
        else
            upstream_set_step(upstream, STEP_LINGERING, LINGER_MS);
        break;
    case FRAME_PONG:
    case FRAME_COMPRESSED_TEXT: /* not offered, so the reader takes RSV1 for an error */
    case FRAME_COMPRESSED_BINARY:
    case FRAME_MORE:
        break;
    }
}

void upstream_frames_received(struct upstream *upstream, char *bytes, size_t len) {
    upstream->received_ms = upstream_now_ms(upstream);
    while (len > 0 && (upstream->step == STEP_OPEN || upstream->step == STEP_CLOSING)) {
        struct frame frame;
        enum frame_kind kind =
            frame_reader_next_cold(&upstream->reader, &bytes, &len, &upstream->limits, &frame);
        if (kind == FRAME_MORE)
            break;
        on_frame(upstream, kind, &frame);
    }
}

/* ---- for the script ---- */

void upstream_frames_free_inbox(struct upstream *upstream) {
    while (!list_empty(&upstream->inbox)) {
        struct upstream_message *waiting =
            LIST_OWNER(upstream->inbox.next, struct upstream_message, link);
        list_remove(&waiting->link);
        mem_free(waiting);
    }
    mem_free(upstream->taken);
    upstream->taken = NULL;
    upstream->inbox_bytes = 0;
}

/* Has the backlog room for a frame of so many bytes, which are no more than max_backlog? */
static bool has_room(const struct upstream *upstream, size_t bytes) {
    return upstream->out.len <= upstream->max_backlog - bytes;
}

enum upstream_sent upstream_send(struct upstream *upstream, bool binary, struct slice payload) {
    if (!binary && !utf8_valid(payload.bytes, payload.len))
        return UPSTREAM_SEND_BAD_UTF8;
    if (upstream->step != STEP_OPEN || upstream->closed)
        return UPSTREAM_SEND_CLOSED;
    size_t bytes = payload.len + WS_CLIENT_HEADER_BYTES;
    if (bytes > upstream->max_backlog)
        return UPSTREAM_SEND_TOO_LARGE;
    if (!has_room(upstream, bytes))
        upstream_frames_write(upstream);
    if (!has_room(upstream, bytes) || (upstream->out.len > 0 && queue_memory_is_full()))
        return UPSTREAM_SEND_BACKLOG;
    add_frame(upstream, binary ? OPCODE_BINARY : OPCODE_TEXT, payload.bytes, payload.len);
    stats_add(&upstream->shared->stats->upstream_messages_sent, 1);
    return UPSTREAM_SENT;
}

bool upstream_receive(struct upstream *upstream, bool *binary, struct slice *payload) {
    if (list_empty(&upstream->inbox))
        return false;
    mem_free(upstream->taken);
    struct upstream_message *waiting = upstream->taken =
        LIST_OWNER(upstream->inbox.next, struct upstream_message, link);
    list_remove(&waiting->link);
    upstream->inbox_bytes -= sizeof *waiting + waiting->len;
    if (upstream->inbox_bytes <= upstream->max_inbox / 2)
        set_paused(upstream, false);
    *binary = waiting->binary;
    *payload = (struct slice){waiting->bytes, waiting->len};
    return true;
}
