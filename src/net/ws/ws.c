/* ws.c -- one WebSocket connection. See ws.h.
 *
 * When the hub pauses a connection in the middle of bytes that were read already, the rest is kept
 * here and read on when it may go on. So it is when one read brings so many messages that others
 * would have to wait for long: the rest is looked at in the next turns of the loop, and nothing
 * more is read meanwhile. The hub is told how many bytes are kept for a connection. */
#include "net/ws/ws.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/frames/frame_reader.h"

#include <string.h>

/* Nanoseconds of one turn of the loop that one connection, and all together, may take for messages
 * beyond the first few of a read; time is looked at after each few. */
enum { SHARE_NS = 2000000, ALL_SHARES_NS = 10000000, LOOK_EACH = 8 };

struct ws_server {
    struct hub *hub;
    uint64_t spent_ns; /* of ALL_SHARES_NS, in this turn */
    uint64_t half_closed_ms;
    struct list resumed;
};

struct ws {
    struct ws_server *server;
    struct stream *stream;
    struct conn *conn;
    struct ip_count *address;
    struct frame_reader reader;
    struct list resumed; /* in the server's list while `rest` may be read on */
    char *rest;          /* bytes read but not looked at, from `rest_at` on */
    size_t rest_len, rest_at;
    size_t kept;         /* what the hub was told of: bytes, */
    uint32_t unfinished; /* and which message is not whole yet */
    bool paused;         /* by the hub */
    bool gave_way;
    bool deaf; /* nothing that comes in is looked at any more */
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
    ws->deaf = true;
    if (frame_reader_close_valid(frame->payload, frame->len, &code, &reason, &len))
        hub_peer_closed(ws->server->hub, ws->conn, code, reason, len);
    else
        hub_fail(ws->server->hub, ws->conn, CLOSE_PROTOCOL, "invalid Close frame");
}

static void on_message(struct ws *ws, const struct frame *frame, bool binary) {
    struct hub *hub = ws->server->hub;
    if (!binary && !utf8_valid(frame->payload, frame->len)) {
        ws->deaf = true;
        hub_fail(hub, ws->conn, CLOSE_BAD_PAYLOAD, "text is not valid UTF-8");
        return;
    }
    hub_received(hub, ws->conn, frame->payload, frame->len, binary);
}

static void on_frame(struct ws *ws, enum frame_kind kind, const struct frame *frame) {
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
        ws->deaf = true;
        hub_fail(hub, ws->conn, frame->code, frame->why);
        break;
    case FRAME_MORE:
        break;
    }
}

/* Tells the hub what is kept now, where that has changed, or when it is to do something about
 * it. */
static void tell_kept(struct ws *ws) {
    struct hub *hub = ws->server->hub;
    size_t kept = frame_reader_held(&ws->reader) + ws->rest_len;
    uint32_t unfinished = frame_reader_unfinished(&ws->reader);
    if (kept == ws->kept && unfinished == ws->unfinished && !hub_limit_exceeded(hub))
        return;
    ws->kept = kept;
    ws->unfinished = unfinished;
    hub_set_kept(hub, ws->conn, kept, unfinished);
}

static void forget_rest(struct ws *ws) {
    mem_free(ws->rest);
    ws->rest = NULL;
    ws->rest_len = ws->rest_at = 0;
}

/* Has the connection had its share of this turn? `*look` is when that was asked last; 0: not
 * yet. */
static bool share_is_over(struct ws_server *server, uint64_t *spent_ns, uint64_t *look) {
    uint64_t now = clock_monotonic_ns(), took = *look == 0 ? 0 : now - *look;
    *look = now;
    *spent_ns += took;
    server->spent_ns += took;
    return *spent_ns >= SHARE_NS || server->spent_ns >= ALL_SHARES_NS;
}

/* Looks at bytes until they are used up, the hub wants no more or it is the others' turn. Returns
 * how many are left, at the end. */
static size_t consume(struct ws *ws, char *bytes, size_t len) {
    const struct endpoint *endpoint = hub_endpoint_of(ws->conn);
    const struct frame_limits limits = {endpoint->max_message_size, endpoint->max_fragments};
    struct frame frame;
    enum frame_kind kind = FRAME_ERROR;
    uint64_t spent_ns = 0, look = 0;
    unsigned frames = 0;
    hub_alive(ws->server->hub, ws->conn);
    ws->gave_way = false;
    while (!ws->deaf && !ws->paused && !ws->gave_way &&
           (kind = frame_reader_next(&ws->reader, &bytes, &len, &limits, &frame)) != FRAME_MORE) {
        on_frame(ws, kind, &frame);
        if (++frames % LOOK_EACH == 0 && len > 0)
            ws->gave_way = share_is_over(ws->server, &spent_ns, &look);
    }
    if (ws->deaf)
        frame_reader_reset(&ws->reader);
    else if (kind != FRAME_MORE)
        frame_reader_forget(&ws->reader); /* the pause may be long */
    return ws->deaf ? 0 : len;
}

/* After a look that gave way: it goes on in the next turn, and nothing more is read before. */
static void go_on_later(struct ws *ws) {
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
        if (ws->gave_way && !ws->paused)
            go_on_later(ws);
    }
    tell_kept(ws);
}

static void on_received(void *owner, char *bytes, size_t len) {
    struct ws *ws = owner;
    if (ws->deaf)
        return;
    if (ws->rest != NULL) { /* the library had read on before it heard of the pause */
        ws->rest = mem_realloc(ws->rest, ws->rest_len + len);
        memcpy(ws->rest + ws->rest_len, bytes, len);
        ws->rest_len += len;
        tell_kept(ws);
        return;
    }
    on_bytes(ws, bytes, len);
}

static void read_on(struct ws *ws) {
    if (ws->paused)
        return;
    size_t left = 0;
    if (ws->rest != NULL)
        left = consume(ws, ws->rest + ws->rest_at, ws->rest_len - ws->rest_at);
    ws->rest_at = ws->rest_len - left;
    if (left == 0)
        forget_rest(ws);
    if (!ws->paused && ws->rest != NULL)
        go_on_later(ws);
    else if (!ws->paused)
        stream_pause(ws->stream, false);
    tell_kept(ws);
}

void ws_server_turn(struct ws_server *server) {
    struct list batch;
    list_init(&batch);
    list_move(&batch, &server->resumed);
    server->spent_ns = 0;
    while (!list_empty(&batch) && server->spent_ns < ALL_SHARES_NS) {
        struct ws *ws = LIST_OWNER(batch.next, struct ws, resumed);
        list_remove(&ws->resumed);
        read_on(ws);
    }
    list_move(&batch, &server->resumed); /* who had no turn yet comes first in the next one */
    list_move(&server->resumed, &batch);
}

static void on_writable(void *owner) {
    struct ws *ws = owner;
    hub_writable(ws->server->hub, ws->conn);
}

static bool on_ended(void *owner) {
    struct ws *ws = owner;
    ws->deaf = true;
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

static const struct stream_events stream_events = {on_received, on_writable, on_ended, on_closed};

static struct ws *take_over(struct ws_server *server, struct stream *stream, struct conn *conn,
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
    struct ws *ws = take_over(server, stream, conn, address);
    hub_open(server->hub, conn, ws);
    if (len > 0)
        on_bytes(ws, ahead, len);
}

void ws_refuse(struct ws_server *server, struct stream *stream, struct conn *conn,
               struct ip_count *address, const struct ws_refusal *refusal, char *ahead,
               size_t len) {
    struct ws *ws = take_over(server, stream, conn, address);
    hub_open_refused(server->hub, conn, ws, refusal->endpoint, refusal->code, refusal->reason,
                     refusal->reason_len);
    if (len > 0)
        on_bytes(ws, ahead, len);
}

/* ---- out: what the hub asks for ---- */

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
    ws->deaf = true;
    stream_shutdown(ws->stream);
}

static void wire_kill(void *peer) {
    struct ws *ws = peer;
    ws->deaf = true;
    stream_kill(ws->stream);
}

static void wire_discard(void *peer) {
    struct ws *ws = peer;
    ws->deaf = true;
    frame_reader_reset(&ws->reader);
    forget_rest(ws);
    ws->kept = 0;
    ws->unfinished = 0;
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
    .quiet_ms = wire_quiet_ms,
};
