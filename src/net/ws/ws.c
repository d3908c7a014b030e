/* ws.c -- WebSocket connections. See ws.h.
 *
 * The hub may pause a connection in the middle of the bytes of a read: the rest is kept here until
 * the connection is resumed. A connection also yields when one read brings so many messages that
 * others would wait long: the rest is parsed in the next turns of the loop, and nothing more is
 * read meanwhile. The hub knows how many bytes each connection keeps.
 *
 * frame_reader.h parses the frames; their order, and what they cost a script, is the hub's matter:
 * a limit on the messages of a connection belongs there (hub_received()). */
#include "net/ws/ws.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/frames/frame_reader.h"

#include <string.h>

/* Nanoseconds of one turn of the loop that one connection, and all together, may take for messages
 * beyond the first MESSAGES_PER_CHECK of a read. */
enum { CONN_SLICE_NS = 2000000, ALL_SLICES_NS = 10000000, MESSAGES_PER_CHECK = 8 };

struct ws_server {
    struct hub *hub;
    uint64_t spent_ns; /* of ALL_SLICES_NS, in this turn */
    uint64_t half_closed_ms;
    struct list resumed;
};

/* What happens to the bytes of the client. */
enum ws_input {
    INPUT_OPEN,    /* they are parsed */
    INPUT_YIELDED, /* the rest of a read is parsed in the next turn */
    INPUT_CLOSED   /* they are ignored: the connection has failed, or one side has ended it */
};

struct ws {
    struct ws_server *server;
    struct stream *stream;
    struct conn *conn;
    struct ip_count *address;
    struct frame_reader reader;
    struct list resumed; /* in the server's list while ws_server_turn() is to parse `rest` */
    char *rest;          /* bytes of a read that are not parsed, from `rest_at` on */
    size_t rest_len, rest_at;
    size_t kept;         /* what the hub knows: bytes of memory, … */
    uint32_t unfinished; /* … and the number of the message that is not whole */
    enum ws_input input;
    bool paused; /* by the hub */
};

static const struct wire wire;

struct ws_server *ws_server_new(struct hub *hub, uint64_t half_closed_ms) {
    struct ws_server *server = mem_zalloc(sizeof *server);
    server->hub = hub;
    server->half_closed_ms = half_closed_ms;
    list_init(&server->resumed);
    hub_set_wire(hub, &wire);
    return server;
}

void ws_server_change(struct ws_server *server, uint64_t half_closed_ms) {
    server->half_closed_ms = half_closed_ms;
}

void ws_server_free(struct ws_server *server) {
    mem_free(server);
}

bool ws_server_has_pending(const struct ws_server *server) {
    return !list_empty(&server->resumed);
}

/* ---- in ---- */

static void on_close_frame(struct ws *ws, const struct frame *frame) {
    unsigned code;
    const char *reason;
    size_t len;
    ws->input = INPUT_CLOSED;
    if (frame_reader_close_valid(frame->payload, frame->len, &code, &reason, &len))
        hub_peer_closed(ws->server->hub, ws->conn, code, reason, len);
    else
        hub_fail(ws->server->hub, ws->conn, CLOSE_PROTOCOL, "invalid Close frame");
}

static void on_message(struct ws *ws, const struct frame *frame, bool binary) {
    struct hub *hub = ws->server->hub;
    if (!binary && !frame->is_ascii && !utf8_valid(frame->payload, frame->len)) {
        ws->input = INPUT_CLOSED;
        hub_fail(hub, ws->conn, CLOSE_BAD_PAYLOAD, "text is not valid UTF-8");
        return;
    }
    hub_received(hub, ws->conn, frame->payload, frame->len, binary);
}

static void on_compressed(struct ws *ws, const struct frame *frame, bool binary) {
    if (!hub_received_compressed(ws->server->hub, ws->conn, frame->payload, frame->len, binary))
        ws->input = INPUT_CLOSED;
}

/* `*frames` counts to the next look at the clock. */
static void on_frame(struct ws *ws, enum frame_kind kind, const struct frame *frame,
                     unsigned *frames) {
    struct hub *hub = ws->server->hub;
    switch (kind) {
    case FRAME_TEXT:
    case FRAME_BINARY:
        on_message(ws, frame, kind == FRAME_BINARY);
        break;
    case FRAME_PING:
        hub_answer_ping(hub, ws->conn, frame->payload, frame->len);
        break;
    case FRAME_PONG:
        hub_pong(hub, ws->conn, frame->payload, frame->len);
        break;
    case FRAME_CLOSE:
        on_close_frame(ws, frame);
        break;
    case FRAME_ERROR:
        ws->input = INPUT_CLOSED;
        hub_fail(hub, ws->conn, frame->code, frame->why);
        break;
    case FRAME_COMPRESSED_TEXT:
    case FRAME_COMPRESSED_BINARY:
        on_compressed(ws, frame, kind == FRAME_COMPRESSED_BINARY);
        *frames |= MESSAGES_PER_CHECK - 1; /* it may have cost as much as many others */
        break;
    case FRAME_MORE:
        break;
    }
}

/* Tells the hub what is kept, when that has changed or the hub is over its limit. */
static void report_kept(struct ws *ws) {
    struct hub *hub = ws->server->hub;
    size_t kept = frame_reader_held(&ws->reader) + ws->rest_len;
    uint32_t unfinished = frame_reader_unfinished(&ws->reader);
    if (kept == ws->kept && unfinished == ws->unfinished && !hub_limit_exceeded(hub))
        return;
    ws->kept = kept;
    ws->unfinished = unfinished;
    hub_set_kept(hub, ws->conn, kept, unfinished);
}

static void free_rest(struct ws *ws) {
    mem_free(ws->rest);
    ws->rest = NULL;
    ws->rest_len = ws->rest_at = 0;
}

/* Has the connection, or have all, used up their time of this turn? `*look` is the time of the last
 * call; 0: none. */
static bool slice_is_used_up(struct ws_server *server, uint64_t *spent_ns, uint64_t *look) {
    uint64_t now = clock_monotonic_ns(), took = *look == 0 ? 0 : now - *look;
    *look = now;
    *spent_ns += took;
    server->spent_ns += took;
    return *spent_ns >= CONN_SLICE_NS || server->spent_ns >= ALL_SLICES_NS;
}

/* Parses bytes until they are used up, the hub pauses the connection, or it yields. Returns how
 * many are left, at the end. */
static size_t consume(struct ws *ws, char *bytes, size_t len) {
    const struct endpoint *endpoint = hub_endpoint_of(ws->conn);
    const struct frame_limits limits = {endpoint->max_message_size, endpoint->max_fragments};
    struct frame frame;
    enum frame_kind kind = FRAME_ERROR;
    uint64_t spent_ns = 0, look = 0;
    unsigned frames = 0;
    hub_alive(ws->server->hub, ws->conn);
    if (ws->input == INPUT_YIELDED)
        ws->input = INPUT_OPEN;
    while (ws->input == INPUT_OPEN && !ws->paused &&
           (kind = frame_reader_next(&ws->reader, &bytes, &len, &limits, &frame)) != FRAME_MORE) {
        on_frame(ws, kind, &frame, &frames);
        if (++frames % MESSAGES_PER_CHECK == 0 && len > 0 &&
            slice_is_used_up(ws->server, &spent_ns, &look) && ws->input == INPUT_OPEN)
            ws->input = INPUT_YIELDED;
    }
    bool closed = ws->input == INPUT_CLOSED;
    if (closed)
        frame_reader_reset(&ws->reader);
    else if (kind != FRAME_MORE)
        frame_reader_forget(&ws->reader); /* the pause may be long */
    hub_read_done(ws->server->hub, ws->conn);
    return closed ? 0 : len;
}

/* The rest is parsed in the next turn, and nothing is read before. */
static void resume_later(struct ws *ws) {
    stream_pause(ws->stream, true);
    if (list_empty(&ws->resumed))
        list_append(&ws->server->resumed, &ws->resumed);
}

static void on_bytes(struct ws *ws, char *bytes, size_t len) {
    size_t left = consume(ws, bytes, len);
    if (left > 0) {
        ws->rest = mem_strndup(bytes + len - left, left);
        ws->rest_len = left;
        ws->rest_at = 0;
        if (ws->input == INPUT_YIELDED && !ws->paused)
            resume_later(ws);
    }
    report_kept(ws);
}

static void on_received(void *owner, char *bytes, size_t len) {
    struct ws *ws = owner;
    if (ws->input != INPUT_CLOSED)
        on_bytes(ws, bytes, len);
}

static void resume(struct ws *ws) {
    if (ws->paused)
        return;
    size_t left = 0;
    if (ws->rest != NULL)
        left = consume(ws, ws->rest + ws->rest_at, ws->rest_len - ws->rest_at);
    ws->rest_at = ws->rest_len - left;
    if (left == 0)
        free_rest(ws);
    if (!ws->paused && ws->rest != NULL)
        resume_later(ws);
    else if (!ws->paused)
        stream_pause(ws->stream, false);
    report_kept(ws);
}

static void resume_some(struct ws_server *server) {
    struct list batch;
    list_init(&batch);
    list_move(&batch, &server->resumed);
    while (!list_empty(&batch) && server->spent_ns < ALL_SLICES_NS) {
        struct ws *ws = LIST_OWNER(batch.next, struct ws, resumed);
        list_remove(&ws->resumed);
        resume(ws);
    }
    list_move(&batch, &server->resumed); /* those without a turn are first in the next one */
    list_move(&server->resumed, &batch);
}

void ws_server_turn(struct ws_server *server) {
    server->spent_ns = 0;
    if (!list_empty(&server->resumed))
        resume_some(server);
}

static void on_writable(void *owner) {
    struct ws *ws = owner;
    hub_writable(ws->server->hub, ws->conn);
}

static bool on_ended(void *owner) {
    struct ws *ws = owner;
    ws->input = INPUT_CLOSED;
    return hub_peer_ended(ws->server->hub, ws->conn, ws->server->half_closed_ms);
}

static void on_closed(void *owner) {
    struct ws *ws = owner;
    hub_gone(ws->server->hub, ws->conn, CLOSE_ABNORMAL);
    list_remove(&ws->resumed);
    ip_counts_remove(ws->address);
    frame_reader_reset(&ws->reader);
    mem_free(ws->rest);
    mem_free(ws);
}

static void on_broken(void *owner) {
    struct ws *ws = owner;
    hub_peer_broken(ws->server->hub, ws->conn, ws->server->half_closed_ms);
}

static const struct stream_events stream_events = {on_received, on_writable, on_ended, on_closed,
                                                   on_broken};

static struct ws *new_ws(struct ws_server *server, struct stream *stream, struct conn *conn,
                         struct ip_count *address) {
    struct ws *ws = mem_zalloc(sizeof *ws);
    ws->server = server;
    ws->stream = stream;
    ws->conn = conn;
    ws->address = address;
    list_init(&ws->resumed);
    stream_set_owner(stream, &stream_events, ws);
    return ws;
}

void ws_open(struct ws_server *server, struct stream *stream, struct conn *conn,
             struct ip_count *address, char *ahead, size_t len) {
    struct ws *ws = new_ws(server, stream, conn, address);
    ws->reader.deflate = hub_is_compressed(conn);
    hub_open(server->hub, conn, ws);
    if (len > 0)
        on_bytes(ws, ahead, len);
}

void ws_open_refused(struct ws_server *server, struct stream *stream, struct conn *conn,
                     struct ip_count *address, const struct ws_refusal *refusal, char *ahead,
                     size_t len) {
    struct ws *ws = new_ws(server, stream, conn, address);
    hub_open_refused(server->hub, conn, ws, refusal->endpoint, refusal->code, refusal->reason,
                     refusal->reason_len);
    if (len > 0)
        on_bytes(ws, ahead, len);
}

/* ---- out: the wire of the hub ---- */

static size_t wire_write(void *peer, const unsigned char *bytes, size_t len) {
    struct ws *ws = peer;
    size_t written = stream_write(ws->stream, bytes, len);
    if (written < len)
        stream_want_write(ws->stream);
    return written;
}

static void wire_expect(void *peer) {
    const struct ws *ws = peer;
    __builtin_prefetch(ws->stream);
}

static void wire_pause(void *peer, bool paused) {
    struct ws *ws = peer;
    ws->paused = paused;
    if (paused || ws->rest == NULL)
        stream_pause(ws->stream, paused);
    else if (list_empty(&ws->resumed))
        list_append(&ws->server->resumed, &ws->resumed);
}

static void wire_end(void *peer) {
    struct ws *ws = peer;
    ws->input = INPUT_CLOSED;
    stream_shutdown(ws->stream);
}

static void wire_kill(void *peer) {
    struct ws *ws = peer;
    ws->input = INPUT_CLOSED;
    stream_kill(ws->stream);
}

static void wire_discard(void *peer) {
    struct ws *ws = peer;
    ws->input = INPUT_CLOSED;
    frame_reader_reset(&ws->reader);
    free_rest(ws);
    ws->kept = 0;
    ws->unfinished = 0;
}

static void wire_rebind(void *peer, struct conn *conn) {
    struct ws *ws = peer;
    ws->conn = conn;
}

static bool wire_has_end(void *peer) {
    const struct ws *ws = peer;
    return stream_has_end(ws->stream);
}

static uint64_t wire_quiet_ms(void *peer) {
    const struct ws *ws = peer;
    return stream_quiet_ms(ws->stream);
}

static const struct wire wire = {
    .write = wire_write,
    .expect = wire_expect,
    .pause = wire_pause,
    .end = wire_end,
    .kill = wire_kill,
    .discard = wire_discard,
    .rebind = wire_rebind,
    .has_end = wire_has_end,
    .quiet_ms = wire_quiet_ms,
};
