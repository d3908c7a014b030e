/* handshake_server.c -- accepts or refuses handshakes. See handshake_server.h.
 *
 * A limit on handshakes belongs into on_handshake(). A client that returns to a session goes to the
 * worker that has it, before any script is asked. The extension permessage-deflate is chosen
 * here too, between the scripts' answer and answer_101(). */
#include "net/ws/handshake_server.h"

#include "base/mem.h"
#include "net/http/handshake.h"
#include "net/http/query.h"
#include "net/ws/deflate_offer.h"
#include "net/ws/ws.h"

#include <stdio.h>
#include <string.h>

struct handshake_server {
    struct hub *hub;
    struct ws_server *ws;
    bool draining;
};

static void refuse(struct handshake_server *server, struct http *http, int status,
                   const char *headers, const char *why) {
    stats_add(&hub_stats(server->hub)->connections_refused, 1);
    http_respond_refusal(http, status, headers, why);
}

/* Writes the response 101 (RFC 6455 section 4.2.2). `extensions`: a header line, or "". False: the
 * socket did not take it, or there is no memory for it. */
static bool answer_101(struct stream *stream, struct slice key, const char *subprotocol,
                       const char *extensions) {
    static const char format[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s%s%s%s\r\n";
    static const char name[] = "Sec-WebSocket-Protocol: ";
    bool chosen = subprotocol != NULL;
    if (!chosen)
        subprotocol = "";
    size_t room = sizeof format + HANDSHAKE_ACCEPT_BYTES + sizeof name + strlen(subprotocol) +
                  strlen(extensions);
    char accept[HANDSHAKE_ACCEPT_BYTES], *head = mem_alloc(room);
    bool written = handshake_accept(key, accept);
    if (written) {
        size_t len = (size_t)snprintf(head, room, format, accept, chosen ? name : "", subprotocol,
                                      chosen ? "\r\n" : "", extensions);
        written = stream_write(stream, head, len) == len;
    }
    mem_free(head);
    return written;
}

/* A handshake that is neither accepted nor refused yet, and what it has taken. */
struct candidate {
    struct http *http;
    struct conn *conn;
    const struct handshake *handshake;
    struct deflate_offer offer;
    char *ahead; /* the bytes behind the request */
    size_t ahead_len;
};

/* Answers with 101, and takes the stream and the count of its address. NULL: the socket did not
 * take the response; all is given back. */
static struct stream *switch_protocols(struct handshake_server *server,
                                       const struct candidate *candidate, const char *subprotocol,
                                       const char *extensions, struct ip_count **address) {
    struct stream *stream = http_stream(candidate->http);
    if (!answer_101(stream, candidate->handshake->key, subprotocol, extensions)) {
        hub_abandon(server->hub, candidate->conn);
        stream_kill(stream);
        return NULL;
    }
    *address = http_take_permit(candidate->http).address;
    hub_use_place(candidate->conn, http_take_place(candidate->http));
    return stream;
}

/* Agrees on permessage-deflate if the endpoint and the client want it. `extensions` gets the line
 * of the response, or "". */
static void agree_on_compression(const struct candidate *candidate,
                                 char extensions[DEFLATE_OFFER_ANSWER_BYTES]) {
    const struct endpoint *endpoint = hub_endpoint_of(candidate->conn);
    struct compression agreed;
    extensions[0] = '\0';
    if (!endpoint->compresses || !candidate->offer.is_acceptable)
        return;
    /* a message with a key may be replaced in the queue: nothing that follows may refer to it */
    deflate_offer_answer(&candidate->offer, endpoint->keeps_context,
                         endpoint->slow_client != SLOW_CLIENT_CONFLATE, &agreed, extensions);
    hub_use_compression(candidate->conn, &agreed);
}

/* Accepts a handshake only to close it: a page in a browser does not see the status of a refusal,
 * but the code of a Close frame. */
static void refuse_by_close(struct handshake_server *server, const struct candidate *candidate,
                            const struct handshake_answer *answer) {
    struct ip_count *address;
    http_log(candidate->http, answer->status);
    const struct ws_refusal refusal = {answer->endpoint, (unsigned)answer->status, answer->body,
                                       answer->body_len};
    struct stream *stream = switch_protocols(server, candidate, answer->subprotocol, "", &address);
    if (stream == NULL)
        return;
    ws_open_refused(server->ws, stream, candidate->conn, address, &refusal, candidate->ahead,
                    candidate->ahead_len);
    http_detach(candidate->http);
}

/* For the counts and the log. */
static void note_refusal(struct handshake_server *server, const struct candidate *candidate,
                         const struct handshake_answer *answer) {
    stats_add(&hub_stats(server->hub)->connections_refused, 1);
    http_set_reason(candidate->http, answer->reason);
    http_note_refusal(candidate->http, answer->why);
}

/* The user has as many connections as the endpoint allows. */
static void refuse_user(struct handshake_server *server, const struct candidate *candidate,
                        const struct handshake_answer *answer) {
    static const char why[] = USER_FULL;
    struct handshake_answer refusal = *answer;
    refusal.status = CLOSE_TOO_MANY;
    refusal.body = why;
    refusal.body_len = sizeof why - 1;
    refusal.reason = "user_connections";
    refusal.why = why;
    hub_unassign(server->hub, candidate->conn);
    note_refusal(server, candidate, &refusal);
    refuse_by_close(server, candidate, &refusal);
}

static void accept_handshake(struct handshake_server *server, const struct candidate *candidate,
                             const struct handshake_answer *answer) {
    struct ip_count *address;
    char extensions[DEFLATE_OFFER_ANSWER_BYTES];
    if (!hub_assign_session(server->hub, candidate->conn, answer->endpoint, answer->session,
                            answer->received, answer->user)) {
        http_set_reason(candidate->http, "max_connections");
        refuse(server, candidate->http, 503, "Retry-After: 5\r\n", "This endpoint is full.");
        hub_abandon(server->hub, candidate->conn);
        return;
    }
    if (!hub_admit_user(server->hub, candidate->conn, answer->user)) {
        refuse_user(server, candidate, answer);
        return;
    }
    agree_on_compression(candidate, extensions);
    if (answer->session.len > 0)
        hub_session_arrive(server->hub, candidate->conn,
                           stream_quiet_ms(http_stream(candidate->http)),
                           stream_has_end(http_stream(candidate->http)));
    struct stream *stream =
        switch_protocols(server, candidate, answer->subprotocol, extensions, &address);
    if (stream == NULL)
        return;
    ws_open(server->ws, stream, candidate->conn, address, candidate->ahead, candidate->ahead_len);
    http_detach(candidate->http);
}

/* Calls the scripts, and accepts or refuses the handshake as they say. */
static void ask(struct handshake_server *server, const struct candidate *candidate,
                const struct request *request) {
    struct http_request info = {
        .head = request->head.bytes,
        .head_len = request->head.len,
        .remote_address = http_remote(candidate->http),
        .secure = http_is_secure(candidate->http),
        .forwarded_host = http_forwarded_host(candidate->http),
        .tls = stream_tls(http_stream(candidate->http)),
    };
    struct handshake_answer answer = {.status = 0};
    hub_handshake(server->hub, candidate->conn, &info, &answer);
    if (answer.status == 101) {
        accept_handshake(server, candidate, &answer);
        return;
    }
    if (answer.status == 0) { /* they have failed, which is logged */
        http_set_reason(candidate->http, "script_error");
        refuse(server, candidate->http, 500, NULL, "The server could not decide.");
        hub_abandon(server->hub, candidate->conn);
        return;
    }
    note_refusal(server, candidate, &answer);
    if (answer.status >= CLOSE_FIRST_PRIVATE) {
        refuse_by_close(server, candidate, &answer);
        return;
    }
    http_respond(candidate->http, answer.status, answer.headers, answer.body, answer.body_len);
    hub_abandon(server->hub, candidate->conn); /* calls an event, which frees the answer's texts */
}

/* The secret that the request brings. False: none that could be one. */
static bool find_secret(const struct request *request, char room[SESSION_SECRET_MAX],
                        struct slice *secret) {
    *secret = (struct slice){room, 0};
    return query_find(request->query, "session", room, SESSION_SECRET_MAX, &secret->len) &&
           secret->len <= SESSION_SECRET_MAX;
}

/* A session that waits has its place in limits.connections: its client can come back. */
static struct session_place *on_full(void *user, const struct request *request) {
    const struct handshake_server *server = user;
    char room[SESSION_SECRET_MAX];
    struct slice secret;
    return hub_has_sessions(server->hub) && find_secret(request, room, &secret)
               ? hub_lend_place(server->hub, secret)
               : NULL;
}

/* Passes the handshake to the worker of its session. False: it is this one, or there is no such
 * session. */
static bool pass_to_session(const struct handshake_server *server, struct http *http,
                            const struct request *request, const char *ahead, size_t ahead_len) {
    char room[SESSION_SECRET_MAX];
    struct slice secret;
    unsigned worker;
    if (!hub_has_sessions(server->hub) || !http_can_pass(http) ||
        !find_secret(request, room, &secret) ||
        !hub_session_is_elsewhere(server->hub, secret, &worker))
        return false;
    http_pass(http, worker, ahead, ahead_len);
    return true;
}

/* Another machine may have the session of the client: the handshake waits until the script knows.
 * False: it goes on. */
static bool fetch_session(const struct handshake_server *server, struct http *http,
                          const struct request *request, const char *ahead, size_t ahead_len) {
    char room[SESSION_SECRET_MAX];
    struct slice secret;
    if (http_was_held(http) || !find_secret(request, room, &secret) ||
        secret.len < SESSION_SECRET_MIN || !hub_can_fetch(server->hub, secret))
        return false;
    if (http_hold(http, ahead, ahead_len))
        hub_fetch(server->hub, http_number(http), secret);
    return true;
}

static void on_handshake(void *user, struct http *http, const struct request *request, char *ahead,
                         size_t ahead_len) {
    struct handshake_server *server = user;
    struct handshake handshake;
    if (handshake_check(request, &handshake) != 0) {
        refuse(server, http, handshake.status, handshake.headers, handshake.text);
        return;
    }
    struct candidate candidate = {
        .http = http, .handshake = &handshake, .ahead = ahead, .ahead_len = ahead_len};
    if (!deflate_offer_read(request, &candidate.offer)) {
        refuse(server, http, 400, NULL, "Sec-WebSocket-Extensions is malformed.");
        return;
    }
    if (server->draining) {
        http_set_reason(http, "draining");
        refuse(server, http, 503, "Retry-After: 5\r\n", "The server is shutting down.");
        return;
    }
    if (pass_to_session(server, http, request, ahead, ahead_len) ||
        fetch_session(server, http, request, ahead, ahead_len))
        return;
    candidate.conn = hub_admit(server->hub, true);
    if (candidate.conn == NULL) {
        http_set_reason(http, "connections");
        refuse(server, http, 503, "Retry-After: 5\r\n", "The server is full.");
        return;
    }
    ask(server, &candidate, request);
}

/* ---- life ---- */

struct handshake_server *handshake_server_new(struct http_server *http, struct hub *hub,
                                              uint64_t half_closed_ms) {
    struct handshake_server *server = mem_zalloc(sizeof *server);
    server->hub = hub;
    server->ws = ws_server_new(hub, half_closed_ms);
    http_server_on_handshake(http, on_handshake, server);
    http_server_on_full(http, on_full, server);
    return server;
}

void handshake_server_change(struct handshake_server *server, uint64_t half_closed_ms) {
    ws_server_change(server->ws, half_closed_ms);
}

void handshake_server_free(struct handshake_server *server) {
    if (server == NULL)
        return;
    ws_server_free(server->ws);
    mem_free(server);
}

void handshake_server_turn(struct handshake_server *server) {
    ws_server_turn(server->ws);
}

bool handshake_server_has_pending(const struct handshake_server *server) {
    return ws_server_has_pending(server->ws);
}

void handshake_server_drain(struct handshake_server *server) {
    server->draining = true;
}
