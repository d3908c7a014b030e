/* upstream.c -- one WebSocket connection to another server. See upstream.h.
 *
 * `step` is what the socket does, `closed` what the script knows: after the Close frames the script
 * sees the end at once, while the socket waits a moment for the server's end of the TCP connection.
 * The memory is freed when the script has released the number, the name's look-up has ended, and
 * the handles are closed. */
#include "net/upstream/upstream.h"

#include "base/buffer.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/frames/close_codes.h"
#include "core/frames/frame_reader.h"
#include "core/frames/opcodes.h"
#include "net/client/ws_client.h"

#include <stdio.h>
#include <string.h>
#include <sys/un.h>

enum {
    HEAD_MAX = 32 * 1024,      /* bytes of the response's head */
    FRAGMENTS_MAX = 64 * 1024, /* frames of one message */
    PONG_BACKLOG = 4 * 1024,   /* with more bytes waiting, only the last ping is answered */
    CLOSE_MS = 3000,           /* for the server's Close frame after ours */
    LINGER_MS = 1000           /* for the end of TCP after both */
};

enum step {
    STEP_RESOLVING,
    STEP_CONNECTING,
    STEP_HANDSHAKE,
    STEP_OPEN,
    STEP_CLOSING,   /* our Close frame is queued; the server's has not come */
    STEP_LINGERING, /* nothing of the server counts any more */
    STEP_ENDED      /* there is no socket */
};

/* A message that waits for the script. */
struct waiting {
    struct list link;
    size_t len;
    bool binary;
    char bytes[];
};

struct upstream {
    struct upstream_shared *shared;
    struct list unwritten;
    struct url url;
    struct upstream_tls *tls;
    char *request; /* of the handshake */
    char key[WS_CLIENT_KEY_BYTES];
    char *subprotocols; /* those offered, each with a NUL */
    size_t subprotocol_count;
    char *chosen; /* the subprotocol, or NULL */
    uint64_t ping_ms, pong_ms;
    struct frame_limits limits;
    size_t max_backlog, max_inbox;

    enum step step;
    uv_getaddrinfo_t *lookup; /* NULL: none runs */
    struct addrinfo *addresses, *next_address;
    struct upstream_socket *socket;
    uv_timer_t timer;
    uint64_t deadline_ms;          /* of the whole opening, or of the closing */
    uint64_t attempt_ms;           /* until when the connection to this address is awaited */
    uint64_t received_ms, ping_at; /* the last sign of life; the next ping; loop time */
    struct buffer head, out;
    struct frame_reader reader;
    unsigned char pong[CONTROL_MAX]; /* the answer that waits until `out` is short */
    uint8_t pong_len;
    bool pong_waits, paused;

    struct list inbox; /* struct waiting */
    size_t inbox_bytes;
    struct waiting *taken; /* the last one that the script took */

    bool closed; /* the script knows, or will */
    bool was_open;
    char problem[300];
    unsigned code;
    char reason[CLOSE_REASON_MAX];
    size_t reason_len;

    upstream_ready_fn on_ready;
    void *ready_context;
    uint64_t ready_tag;
    bool released, timer_closed;
};

/* ---- what the script sees ---- */

static void ready(struct upstream *upstream) {
    upstream_ready_fn on_ready = upstream->on_ready;
    upstream->on_ready = NULL;
    if (on_ready != NULL)
        on_ready(upstream->ready_context, upstream->ready_tag);
}

/* The first code counts: that of the side which has begun to close. */
static void set_code(struct upstream *upstream, unsigned code, const char *reason, size_t len) {
    if (upstream->code != 0)
        return;
    upstream->code = code;
    upstream->reason_len = len;
    if (len > 0) /* else `reason` may be NULL */
        memcpy(upstream->reason, reason, len);
}

/* Does nothing if it knows already. */
static void set_closed(struct upstream *upstream, unsigned code, const char *reason, size_t len) {
    if (upstream->closed)
        return;
    upstream->closed = true;
    if (upstream->was_open)
        stats_add(&upstream->shared->stats->upstreams, (uint64_t)-1);
    set_code(upstream, code, reason, len);
    ready(upstream);
}

/* ---- the end ---- */

static void free_inbox(struct upstream *upstream) {
    while (!list_empty(&upstream->inbox)) {
        struct waiting *waiting = LIST_OWNER(upstream->inbox.next, struct waiting, link);
        list_remove(&waiting->link);
        mem_free(waiting);
    }
    mem_free(upstream->taken);
    upstream->taken = NULL;
    upstream->inbox_bytes = 0;
}

static void free_when_unused(struct upstream *upstream) {
    if (!upstream->released || !upstream->timer_closed || upstream->lookup != NULL ||
        upstream->socket != NULL)
        return;
    list_remove(&upstream->unwritten);
    free_inbox(upstream);
    url_close(&upstream->url);
    upstream_tls_free(upstream->tls);
    mem_free(upstream->request);
    mem_free(upstream->subprotocols);
    mem_free(upstream->chosen);
    mem_free(upstream);
}

static void on_timer_closed(uv_handle_t *handle) {
    struct upstream *upstream = handle->data;
    upstream->timer_closed = true;
    free_when_unused(upstream);
}

/* Frees what only a connection needs. */
static void end(struct upstream *upstream) {
    if (upstream->step == STEP_ENDED)
        return;
    upstream->step = STEP_ENDED;
    upstream->shared->live--;
    uv_freeaddrinfo(upstream->addresses);
    upstream->addresses = upstream->next_address = NULL;
    frame_reader_reset(&upstream->reader);
    buffer_free(&upstream->head);
    buffer_free(&upstream->out);
    uv_close((uv_handle_t *)&upstream->timer, on_timer_closed);
    if (upstream->lookup != NULL)
        uv_cancel((uv_req_t *)upstream->lookup); /* its callback frees it */
}

static void cut_off(struct upstream *upstream) {
    if (upstream->socket != NULL)
        upstream_socket_kill(upstream->socket);
    else
        end(upstream);
}

static void set_problem(struct upstream *upstream, const char *problem) {
    if (problem != upstream->problem)
        snprintf(upstream->problem, sizeof upstream->problem, "%s", problem);
}

static void fail_to_open(struct upstream *upstream, const char *problem) {
    if (!upstream->closed)
        set_problem(upstream, problem);
    set_closed(upstream, CLOSE_ABNORMAL, "", 0);
    cut_off(upstream);
}

/* ---- time ---- */

static uint64_t now_ms(const struct upstream *upstream) {
    return uv_now(upstream->shared->loop);
}

static void on_timer(uv_timer_t *timer);

static void arm(struct upstream *upstream) {
    uint64_t due = upstream->deadline_ms, now = now_ms(upstream);
    if (upstream->step == STEP_CONNECTING && upstream->attempt_ms < due) {
        due = upstream->attempt_ms;
    } else if (upstream->step == STEP_OPEN) {
        due = upstream->received_ms + upstream->pong_ms;
        if (upstream->ping_ms != 0 && upstream->ping_at < due)
            due = upstream->ping_at;
    }
    uv_timer_start(&upstream->timer, on_timer, due > now ? due - now : 0, 0);
}

static void set_step(struct upstream *upstream, enum step step, uint64_t ms) {
    uv_update_time(upstream->shared->loop);
    upstream->step = step;
    upstream->deadline_ms = now_ms(upstream) + ms;
    arm(upstream);
}

/* ---- out ---- */

static void want_flush(struct upstream *upstream) {
    if (list_empty(&upstream->unwritten))
        list_append(&upstream->shared->unwritten, &upstream->unwritten);
}

static void add_frame(struct upstream *upstream, enum opcode opcode, const void *payload,
                      size_t len) {
    unsigned char *room = buffer_room(&upstream->out, len + WS_CLIENT_HEADER_BYTES);
    upstream->out.len += ws_client_frame(room, opcode, payload, len);
    want_flush(upstream);
}

static void write_out(struct upstream *upstream) {
    struct buffer *out = &upstream->out;
    if (upstream->socket == NULL || upstream->step == STEP_CONNECTING)
        return;
    size_t sent = upstream_socket_write(upstream->socket, buffer_start(out), out->len);
    buffer_drop(out, sent);
    if (upstream->pong_waits && out->len <= PONG_BACKLOG) {
        upstream->pong_waits = false;
        add_frame(upstream, OPCODE_PONG, upstream->pong, upstream->pong_len);
    }
    if (out->len > 0)
        upstream_socket_want_write(upstream->socket);
    else
        buffer_free(out); /* it may have been large */
}

void upstream_flush(struct upstream *upstream) {
    list_remove(&upstream->unwritten);
    list_init(&upstream->unwritten);
    write_out(upstream);
}

static void add_close(struct upstream *upstream, unsigned code, const char *reason, size_t len) {
    unsigned char payload[CONTROL_MAX];
    payload[0] = (unsigned char)(code >> 8);
    payload[1] = (unsigned char)code;
    if (len > 0)
        memcpy(payload + 2, reason, len);
    add_frame(upstream, OPCODE_CLOSE, payload, code == CLOSE_NO_STATUS ? 0 : len + 2);
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
    set_step(upstream, STEP_LINGERING, LINGER_MS);
    set_closed(upstream, code, reason, strlen(reason));
}

static void on_close_frame(struct upstream *upstream, const struct frame *frame) {
    unsigned code;
    const char *reason;
    size_t len;
    if (!frame_reader_close_valid(frame->payload, frame->len, &code, &reason, &len)) {
        if (upstream->step == STEP_OPEN)
            fail(upstream, CLOSE_PROTOCOL, "invalid Close frame");
        else
            set_step(upstream, STEP_LINGERING, LINGER_MS);
        return;
    }
    if (upstream->step == STEP_OPEN)
        add_close(upstream, code, "", 0);
    resume(upstream);
    set_step(upstream, STEP_LINGERING, LINGER_MS);
    set_closed(upstream, code, reason, len);
}

static void begin_close(struct upstream *upstream, unsigned code, const char *reason, size_t len) {
    if (upstream->step == STEP_OPEN) {
        add_close(upstream, code, reason, len);
        set_code(upstream, code, reason, len);
        resume(upstream); /* the server's Close frame is awaited */
        set_step(upstream, STEP_CLOSING, CLOSE_MS);
    } else if (upstream->step < STEP_OPEN) {
        fail_to_open(upstream, len == 0 ? "closed" : reason);
    }
}

/* ---- messages in ---- */

static void set_paused(struct upstream *upstream, bool paused) {
    if (upstream->paused == paused || upstream->step != STEP_OPEN)
        return;
    upstream->paused = paused;
    upstream_socket_pause(upstream->socket, paused);
    upstream->received_ms = now_ms(upstream); /* silence counts from here */
    arm(upstream);
}

static void on_message(struct upstream *upstream, const struct frame *frame, bool binary) {
    if (!binary && !utf8_valid(frame->payload, frame->len)) {
        fail(upstream, CLOSE_BAD_PAYLOAD, "text is not valid UTF-8");
        return;
    }
    struct waiting *waiting = mem_alloc(sizeof *waiting + frame->len);
    waiting->len = frame->len;
    waiting->binary = binary;
    memcpy(waiting->bytes, frame->payload, frame->len);
    list_append(&upstream->inbox, &waiting->link);
    upstream->inbox_bytes += sizeof *waiting + frame->len;
    stats_add(&upstream->shared->stats->upstream_messages_received, 1);
    if (upstream->inbox_bytes >= upstream->max_inbox)
        set_paused(upstream, true);
    ready(upstream);
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
            set_step(upstream, STEP_LINGERING, LINGER_MS);
        break;
    case FRAME_PONG:
    case FRAME_MORE:
        break;
    }
}

static void on_bytes(struct upstream *upstream, char *bytes, size_t len) {
    upstream->received_ms = now_ms(upstream);
    while (len > 0 && (upstream->step == STEP_OPEN || upstream->step == STEP_CLOSING)) {
        struct frame frame;
        enum frame_kind kind =
            frame_reader_next_cold(&upstream->reader, &bytes, &len, &upstream->limits, &frame);
        if (kind == FRAME_MORE)
            break;
        on_frame(upstream, kind, &frame);
    }
}

/* ---- the handshake ---- */

static void describe_refusal(const struct ws_client_response *response, char *out, size_t size) {
    if (response->location.len > 0)
        snprintf(out, size, "the server answered %d and redirects to %.*s", response->status,
                 (int)(response->location.len < 200 ? response->location.len : 200),
                 response->location.bytes);
    else
        snprintf(out, size, "the server answered %d", response->status);
}

/* The server has accepted the handshake. */
static void begin_frames(struct upstream *upstream, const struct ws_client_response *response) {
    if (response->protocol.len > 0)
        upstream->chosen = mem_strndup(response->protocol.bytes, response->protocol.len);
    buffer_drop(&upstream->head, response->head_len);
    upstream->was_open = true;
    stats_add(&upstream->shared->stats->upstreams, 1);
    stats_add(&upstream->shared->stats->upstreams_opened, 1);
    upstream->reader.from_server = true;
    upstream->received_ms = now_ms(upstream);
    upstream->ping_at = upstream->received_ms + upstream->ping_ms;
    set_step(upstream, STEP_OPEN, 0);
    ready(upstream);
    struct buffer rest = upstream->head;
    upstream->head = (struct buffer){0};
    on_bytes(upstream, buffer_start(&rest), rest.len);
    buffer_free(&rest);
}

static void on_response(struct upstream *upstream, const char *bytes, size_t len) {
    const char *offered[UPSTREAM_SUBPROTOCOLS_MAX];
    const char *name = upstream->subprotocols;
    for (size_t i = 0; i < upstream->subprotocol_count; i++, name += strlen(name) + 1)
        offered[i] = name;
    struct ws_client_options options = {.subprotocols = offered,
                                        .subprotocol_count = upstream->subprotocol_count};
    struct ws_client_response response;
    buffer_add(&upstream->head, bytes, len);
    bool whole = ws_client_read_response(buffer_start(&upstream->head), upstream->head.len,
                                         upstream->key, &options, &response);
    char problem[sizeof upstream->problem];
    if (!whole && upstream->head.len < HEAD_MAX)
        return;
    if (!whole)
        snprintf(problem, sizeof problem, "the head of the server's answer is too large");
    else if (response.fault != NULL)
        snprintf(problem, sizeof problem, "the server's answer is invalid: %s", response.fault);
    else if (response.status != 101)
        describe_refusal(&response, problem, sizeof problem);
    else {
        begin_frames(upstream, &response);
        return;
    }
    fail_to_open(upstream, problem);
}

/* ---- the socket ---- */

static void on_opened(void *owner) {
    struct upstream *upstream = owner;
    upstream->step = STEP_HANDSHAKE;
    arm(upstream);
    buffer_add(&upstream->out, upstream->request, strlen(upstream->request));
    write_out(upstream);
}

static void on_received(void *owner, char *bytes, size_t len) {
    struct upstream *upstream = owner;
    if (upstream->step == STEP_HANDSHAKE)
        on_response(upstream, bytes, len);
    else
        on_bytes(upstream, bytes, len);
}

static void on_writable(void *owner) {
    write_out(owner);
}

static void on_closed(void *owner, const char *why) {
    struct upstream *upstream = owner;
    upstream->socket = NULL;
    if (upstream->step == STEP_CONNECTING && !upstream->closed) {
        set_problem(upstream, why);
        uv_timer_start(&upstream->timer, on_timer, 0, 0); /* not inside of the library */
        return;
    }
    if (upstream->step == STEP_HANDSHAKE)
        fail_to_open(upstream, "the server ended the connection without an answer");
    set_closed(upstream, CLOSE_ABNORMAL, "", 0);
    end(upstream);
    free_when_unused(upstream);
}

static const struct upstream_socket_events socket_events = {on_opened, on_received, on_writable,
                                                            on_closed};

static void connect_to(struct upstream *upstream, const struct sockaddr *address, socklen_t len,
                       const char **why_not) {
    upstream->step = STEP_CONNECTING;
    upstream->socket = upstream_socket_connect(upstream->shared->sockets, address, len,
                                               upstream->tls, &socket_events, upstream, why_not);
}

/* Each address gets its share of the time that is left. `problem` has the last one's. */
static void try_next_address(struct upstream *upstream) {
    const char *why = upstream->problem;
    while (upstream->socket == NULL && upstream->next_address != NULL) {
        uint64_t now = now_ms(upstream), count = 0;
        for (const struct addrinfo *at = upstream->next_address; at != NULL; at = at->ai_next)
            count++;
        const struct addrinfo *info = upstream->next_address;
        upstream->next_address = info->ai_next;
        if (upstream->deadline_ms > now)
            upstream->attempt_ms = now + (upstream->deadline_ms - now) / count;
        connect_to(upstream, info->ai_addr, info->ai_addrlen, &why);
    }
    if (upstream->socket == NULL)
        fail_to_open(upstream, why);
    else
        arm(upstream);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses) {
    struct upstream *upstream = request->data;
    upstream->lookup = NULL;
    mem_free(request);
    if (upstream->step != STEP_RESOLVING) {
        uv_freeaddrinfo(addresses);
        free_when_unused(upstream);
        return;
    }
    if (status != 0) {
        fail_to_open(upstream, "could not resolve host");
        return;
    }
    upstream->addresses = upstream->next_address = addresses;
    set_problem(upstream, "the host has no address");
    try_next_address(upstream);
}

static void on_timer(uv_timer_t *timer) {
    struct upstream *upstream = timer->data;
    uint64_t now = now_ms(upstream);
    if (upstream->step < STEP_OPEN) {
        if (now >= upstream->deadline_ms)
            fail_to_open(upstream, "timeout");
        else if (upstream->socket == NULL)
            try_next_address(upstream);
        else /* its `closed` goes on with the next address */
            upstream_socket_kill(upstream->socket);
        return;
    }
    if (upstream->step != STEP_OPEN) { /* the server does not answer, or does not end TCP */
        set_closed(upstream, CLOSE_ABNORMAL, "", 0);
        cut_off(upstream);
        return;
    }
    if (upstream->paused) /* what the server sends is not read */
        upstream->received_ms = now;
    if (now - upstream->received_ms >= upstream->pong_ms) {
        set_closed(upstream, CLOSE_ABNORMAL, "timed out", strlen("timed out"));
        cut_off(upstream);
        return;
    }
    if (upstream->ping_ms != 0 && now >= upstream->ping_at) {
        upstream->ping_at = now + upstream->ping_ms;
        add_frame(upstream, OPCODE_PING, "", 0);
    }
    arm(upstream);
}

/* ---- life ---- */

static bool begin(struct upstream *upstream, const char **why_not) {
    if (upstream->url.is_unix) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        *why_not = "the path of the socket is too long";
        if (strlen(upstream->url.host) >= sizeof address.sun_path)
            return false;
        strcpy(address.sun_path, upstream->url.host);
        upstream->attempt_ms = upstream->deadline_ms;
        connect_to(upstream, (struct sockaddr *)&address, sizeof address, why_not);
        return upstream->socket != NULL;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    upstream->lookup = mem_zalloc(sizeof *upstream->lookup);
    upstream->lookup->data = upstream;
    int result = uv_getaddrinfo(upstream->shared->loop, upstream->lookup, on_resolved,
                                upstream->url.host, upstream->url.port, &hints);
    if (result == 0)
        return true;
    mem_free(upstream->lookup);
    upstream->lookup = NULL;
    *why_not = "could not resolve host"; /* its name is too long */
    return false;
}

static bool make_tls(struct upstream *upstream, const struct upstream_options *options,
                     const char **why_not) {
    static char error[300]; /* borrowed until the next call */
    struct upstream_tls_options tls = {
        .host = options->server_name != NULL ? options->server_name : upstream->url.host,
        .verify = options->verify,
        .ca = options->ca,
        .certificate = options->certificate,
        .key = options->key,
    };
    if (!upstream->url.secure)
        return true;
    upstream->tls =
        upstream_tls_new(upstream->shared->tls, &tls, &(struct error_text){error, sizeof error});
    *why_not = error;
    return upstream->tls != NULL;
}

struct upstream *upstream_new(struct upstream_shared *shared,
                              const struct upstream_options *options, const char **why_not) {
    struct upstream *upstream = mem_zalloc(sizeof *upstream);
    upstream->shared = shared;
    shared->live++;
    upstream->ping_ms = options->ping_ms;
    upstream->pong_ms = options->pong_ms;
    upstream->limits = (struct frame_limits){options->max_message_size, FRAGMENTS_MAX};
    upstream->max_backlog = options->max_backlog;
    upstream->max_inbox = options->max_inbox;
    list_init(&upstream->unwritten);
    list_init(&upstream->inbox);
    uv_timer_init(shared->loop, &upstream->timer);
    upstream->timer.data = upstream;
    char error[200];
    *why_not = "invalid URL";
    bool good = url_parse(options->url, &upstream->url, error, sizeof error);
    if (good) {
        struct ws_client_options request = {options->headers, options->header_count,
                                            options->subprotocols, options->subprotocol_count};
        upstream->request = ws_client_write_request(&upstream->url, &request, upstream->key);
        struct buffer names = {0};
        for (size_t i = 0; i < options->subprotocol_count; i++)
            buffer_add(&names, options->subprotocols[i], strlen(options->subprotocols[i]) + 1);
        upstream->subprotocols = names.bytes;
        upstream->subprotocol_count = options->subprotocol_count;
        set_step(upstream, STEP_RESOLVING, options->timeout_ms);
        good = make_tls(upstream, options, why_not) && begin(upstream, why_not);
    }
    if (good)
        return upstream;
    upstream->closed = true;
    end(upstream);
    upstream->released = true;
    return NULL;
}

void upstream_status(struct upstream *upstream, struct upstream_status *out) {
    *out = (struct upstream_status){
        .state = upstream->closed              ? UPSTREAM_CLOSED
                 : upstream->step < STEP_OPEN  ? UPSTREAM_CONNECTING
                 : upstream->step == STEP_OPEN ? UPSTREAM_OPEN
                                               : UPSTREAM_CLOSING,
        .problem = upstream->was_open ? NULL : upstream->problem,
        .subprotocol = upstream->chosen,
        .code = upstream->code,
        .reason = {upstream->reason, upstream->reason_len},
        .backlog = upstream->out.len,
    };
}

enum upstream_sent upstream_send(struct upstream *upstream, bool binary, struct slice payload) {
    if (!binary && !utf8_valid(payload.bytes, payload.len))
        return UPSTREAM_SEND_BAD_UTF8;
    if (upstream->step != STEP_OPEN || upstream->closed)
        return UPSTREAM_SEND_CLOSED;
    size_t room =
        upstream->max_backlog > upstream->out.len ? upstream->max_backlog - upstream->out.len : 0;
    if (payload.len + WS_CLIENT_HEADER_BYTES > room) {
        if (upstream->out.len > 0)
            write_out(upstream);
        room = upstream->max_backlog > upstream->out.len ? upstream->max_backlog - upstream->out.len
                                                         : 0;
    }
    if (payload.len + WS_CLIENT_HEADER_BYTES > room)
        return UPSTREAM_SEND_BACKLOG;
    add_frame(upstream, binary ? OPCODE_BINARY : OPCODE_TEXT, payload.bytes, payload.len);
    stats_add(&upstream->shared->stats->upstream_messages_sent, 1);
    return UPSTREAM_SENT;
}

bool upstream_receive(struct upstream *upstream, bool *binary, struct slice *payload) {
    if (list_empty(&upstream->inbox))
        return false;
    mem_free(upstream->taken);
    struct waiting *waiting = upstream->taken =
        LIST_OWNER(upstream->inbox.next, struct waiting, link);
    list_remove(&waiting->link);
    upstream->inbox_bytes -= sizeof *waiting + waiting->len;
    if (upstream->inbox_bytes <= upstream->max_inbox / 2)
        set_paused(upstream, false);
    *binary = waiting->binary;
    *payload = (struct slice){waiting->bytes, waiting->len};
    return true;
}

void upstream_wait(struct upstream *upstream, upstream_ready_fn on_ready, void *context,
                   uint64_t tag) {
    upstream->on_ready = on_ready;
    upstream->ready_context = context;
    upstream->ready_tag = tag;
}

void upstream_close(struct upstream *upstream, unsigned code, struct slice reason) {
    begin_close(upstream, code, reason.bytes, reason.len);
}

void upstream_release(struct upstream *upstream) {
    static const char unused[] = "";
    upstream->on_ready = NULL;
    upstream->released = true;
    begin_close(upstream, CLOSE_GOING_AWAY, unused, 0);
    free_inbox(upstream);
    free_when_unused(upstream);
}

void upstream_drain(struct upstream *upstream) {
    static const char why[] = "server is shutting down";
    begin_close(upstream, CLOSE_GOING_AWAY, why, sizeof why - 1);
    upstream_flush(upstream);
    set_closed(upstream, CLOSE_GOING_AWAY, why, sizeof why - 1);
}

void upstream_kill(struct upstream *upstream) {
    set_closed(upstream, CLOSE_ABNORMAL, "", 0);
    cut_off(upstream);
}

struct upstream *upstream_first_unwritten(struct upstream_shared *shared) {
    return list_empty(&shared->unwritten)
               ? NULL
               : LIST_OWNER(shared->unwritten.next, struct upstream, unwritten);
}
