/* gate.c -- who gets in. See gate.h. */
#include "net/gate.h"

#include "base/log.h"
#include "base/mem.h"
#include "net/handshake.h"
#include "net/ws.h"

#include <stdio.h>
#include <string.h>

struct gate {
    struct hub *hub;
    struct http_server *http;
    struct ws_server *ws;
    struct wire wire;
    struct lost_folder *lost;
    bool draining;
};

/* A folder of static files that could not be opened when it was last asked for. */
struct lost_folder {
    struct lost_folder *next;
    int why; /* errno */
    char path[];
};

/* ---- handshakes ---- */

static void on_refused(void *user, enum http_refused what) {
    struct gate *gate = user;
    struct stats *stats = &gate->hub->stats;
    stats_add(what == HTTP_REFUSED_SOCKET    ? &stats->connections_refused
              : what == HTTP_REFUSED_REQUEST ? &stats->requests_refused
                                             : &stats->slow_readers,
              1);
}

static void refuse(struct gate *gate, struct http *http, int status, const char *headers,
                   const char *why) {
    on_refused(gate, HTTP_REFUSED_SOCKET);
    http_respond_refusal(http, status, headers, why);
}

/* Writes the 101 answer (RFC 6455 section 4.2.2). False: the socket did not take it. */
static bool answer_101(struct stream *stream, struct slice key, const char *subprotocol) {
    static const char format[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s%s%s\r\n";
    static const char name[] = "Sec-WebSocket-Protocol: ";
    bool chosen = subprotocol != NULL;
    if (!chosen)
        subprotocol = "";
    size_t room = sizeof format + HANDSHAKE_ACCEPT_BYTES + sizeof name + strlen(subprotocol);
    char accept[HANDSHAKE_ACCEPT_BYTES], *head = mem_alloc(room);
    handshake_accept(key, accept);
    size_t len = (size_t)snprintf(head, room, format, accept, chosen ? name : "", subprotocol,
                                  chosen ? "\r\n" : "");
    bool written = stream_write(stream, head, len) == len;
    mem_free(head);
    return written;
}

/* A handshake that is judged: what it holds until it is open or refused. */
struct candidate {
    struct http *http;
    struct conn *conn;
    const struct handshake *handshake;
    char *ahead; /* bytes behind the request */
    size_t ahead_len;
};

static void accept_upgrade(struct gate *gate, const struct candidate *candidate,
                           const struct upgrade_answer *answer) {
    struct http *http = candidate->http;
    struct stream *stream = http_stream(http);
    if (!hub_assign(gate->hub, candidate->conn, answer->endpoint)) {
        refuse(gate, http, 503, "Retry-After: 5\r\n", "This endpoint is full.");
        hub_abandon(gate->hub, candidate->conn);
        return;
    }
    if (!answer_101(stream, candidate->handshake->key, answer->subprotocol)) {
        hub_abandon(gate->hub, candidate->conn);
        stream_kill(stream);
        return;
    }
    struct ticket ticket = http_take_ticket(http); /* its place is the connection's now */
    ws_open(gate->ws, stream, candidate->conn, ticket.address, candidate->ahead,
            candidate->ahead_len);
    http_let_go(http);
}

/* Accepts a handshake only to close it: a page in a browser sees no status of a refusal, but the
 * code of a close. */
static void refuse_by_close(struct gate *gate, const struct candidate *candidate,
                            const struct upgrade_answer *answer) {
    struct stream *stream = http_stream(candidate->http);
    if (!answer_101(stream, candidate->handshake->key, answer->subprotocol)) {
        hub_abandon(gate->hub, candidate->conn);
        stream_kill(stream);
        return;
    }
    const struct ws_refusal refusal = {answer->endpoint, (unsigned)answer->status, answer->body,
                                       answer->body_len};
    struct ticket ticket = http_take_ticket(candidate->http);
    ws_refuse(gate->ws, stream, candidate->conn, ticket.address, &refusal, candidate->ahead,
              candidate->ahead_len);
    http_let_go(candidate->http);
}

/* Asks the scripts, and does what they say. */
static void ask(struct gate *gate, const struct candidate *candidate,
                const struct request *request) {
    struct http_request info = {
        .head = request->head.bytes,
        .head_len = request->head.len,
        .remote_address = http_remote(candidate->http),
        .secure = stream_is_secure(http_stream(candidate->http)),
    };
    struct upgrade_answer answer = {.status = 0};
    gate->hub->events->upgrade(gate->hub->events_user, candidate->conn->id, &info, &answer);
    if (answer.status == 101) {
        accept_upgrade(gate, candidate, &answer);
        return;
    }
    if (answer.status == 0) { /* they have failed, and the log knows why */
        refuse(gate, candidate->http, 500, NULL, "The server could not decide.");
        hub_abandon(gate->hub, candidate->conn);
        return;
    }
    stats_add(&gate->hub->stats.connections_refused, 1);
    http_note_refusal(candidate->http, answer.why);
    if (answer.status >= CLOSE_FIRST_PRIVATE) {
        http_log(candidate->http, answer.status);
        refuse_by_close(gate, candidate, &answer);
        return;
    }
    http_respond(candidate->http, answer.status, answer.headers, answer.body, answer.body_len);
    hub_abandon(gate->hub, candidate->conn); /* an event: the answer's texts are gone with it */
}

static void on_upgrade(void *user, struct http *http, const struct request *request, char *ahead,
                       size_t ahead_len) {
    struct gate *gate = user;
    struct handshake handshake;
    if (handshake_check(request, &handshake) != 0) {
        refuse(gate, http, handshake.status, handshake.headers, handshake.text);
        return;
    }
    if (gate->draining) {
        refuse(gate, http, 503, "Retry-After: 5\r\n", "The server is shutting down.");
        return;
    }
    struct candidate candidate = {
        .http = http, .handshake = &handshake, .ahead = ahead, .ahead_len = ahead_len};
    candidate.conn = hub_admit(gate->hub, true);
    if (candidate.conn == NULL) {
        refuse(gate, http, 503, "Retry-After: 5\r\n", "The server is full.");
        return;
    }
    ask(gate, &candidate, request);
}

/* ---- plain HTTP ---- */

static void on_request(void *user, struct http *http, const struct request *request, char *body,
                       size_t body_len) {
    struct gate *gate = user;
    stats_add(&gate->hub->stats.http_requests, 1);
    struct http_request info = {
        .head = request->head.bytes,
        .head_len = request->head.len,
        .body = body,
        .body_len = body_len,
        .remote_address = http_remote(http),
        .secure = stream_is_secure(http_stream(http)),
    };
    gate->hub->events->request(gate->hub->events_user, http_number(http), &info);
}

static void wire_respond(void *user, uint64_t number, int status, const char *headers,
                         const char *body, size_t body_len, const char *why) {
    struct gate *gate = user;
    struct http *http = http_find(gate->http, number);
    if (http == NULL)
        return;
    http_note_refusal(http, why);
    http_respond(http, status, headers, body, body_len);
}

/* What became of opening a static folder: said when it fails, once until it succeeds again or fails
 * for another reason. There are as many as the scripts name. */
static void note_folder(struct gate *gate, const char *path, int why) {
    struct lost_folder **at = &gate->lost, *lost;
    while ((lost = *at) != NULL && strcmp(lost->path, path) != 0)
        at = &lost->next;
    if (lost != NULL && lost->why == why)
        return;
    if (lost != NULL) {
        *at = lost->next;
        mem_free(lost);
    }
    if (why == 0) {
        log_eventf(LOG_INFO, "static_found", "the folder %s can be opened again", path);
        return;
    }
    lost = mem_alloc(sizeof *lost + strlen(path) + 1);
    *lost = (struct lost_folder){.next = gate->lost, .why = why};
    strcpy(lost->path, path);
    gate->lost = lost;
    log_eventf(LOG_ERROR, "static_failed", "the folder %s cannot be opened: %s", path,
               strerror(why));
}

static void wire_respond_file(void *user, uint64_t number, const char *folder, const char *path) {
    struct gate *gate = user;
    struct http *http = http_find(gate->http, number);
    if (http == NULL)
        return;
    int why = http_respond_file(http, folder, path);
    if (why > 0 || (why == 0 && gate->lost != NULL))
        note_folder(gate, folder, why);
}

/* ---- life ---- */

struct gate *gate_new(uv_loop_t *loop, struct transport *transport, struct hub *hub,
                      const struct http_options *options) {
    struct gate *gate = mem_zalloc(sizeof *gate);
    gate->hub = hub;
    gate->ws = ws_server_new(hub, options->half_closed_ms);
    struct http_handler handler = {on_request, on_upgrade, on_refused, gate};
    gate->http = http_server_new(loop, transport, options, &handler);
    ws_fill_wire(&gate->wire);
    gate->wire.respond = wire_respond;
    gate->wire.respond_file = wire_respond_file;
    gate->wire.user = gate;
    hub_set_wire(hub, &gate->wire);
    return gate;
}

void gate_change(struct gate *gate, const struct http_options *options) {
    http_server_change(gate->http, options);
    ws_server_change(gate->ws, options->half_closed_ms);
}

void gate_close(struct gate *gate) {
    http_server_close(gate->http);
}

void gate_free(struct gate *gate) {
    if (gate == NULL)
        return;
    for (struct lost_folder *lost; (lost = gate->lost) != NULL;) {
        gate->lost = lost->next;
        mem_free(lost);
    }
    http_server_free(gate->http);
    ws_server_free(gate->ws);
    mem_free(gate);
}

struct http_server *gate_http(struct gate *gate) {
    return gate->http;
}

void gate_turn(struct gate *gate) {
    ws_server_turn(gate->ws);
}

bool gate_has_pending(const struct gate *gate) {
    return ws_server_has_pending(gate->ws);
}

void gate_drain(struct gate *gate) {
    gate->draining = true;
    http_server_drain(gate->http);
}
