/* http.h -- HTTP on an accepted socket: requests, one after the other, and their responses.
 *
 * Reads the head, and the body of plain requests, within a time and a size; passes the checked
 * request to a handler; writes the handler's response. Then the connection waits for the next
 * request, unless the client or a limit ends it (RFC 9112 section 9). The handler of handshakes
 * takes the stream instead (a WebSocket). Knows no scripts, and of WebSockets only whether a
 * request asks for one. Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_HTTP_HTTP_H
#define TIDEWIRE_NET_HTTP_HTTP_H

#include "core/bus/refusals.h"
#include "core/bus/sessions.h"
#include "core/bus/stats.h"
#include "net/http/forwarded.h"
#include "net/http/handoff.h"
#include "net/http/request.h"
#include "net/socket/admission.h"
#include "net/socket/transport.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
/* A connection with its present request. */
struct http;

/* A whole plain request; `body` is NULL where there is none. The handler answers by http_respond…
 * now, or later by http_find(). The request and its body are valid until then. */
typedef void (*http_request_fn)(void *user, struct http *http, const struct request *request,
                                char *body, size_t body_len);
/* A request for a WebSocket; `ahead` are the bytes behind it. The handler answers now, or takes the
 * stream. */
typedef void (*http_handshake_fn)(void *user, struct http *http, const struct request *request,
                                  char *ahead, size_t ahead_len);

struct http_options {
    size_t max_head_bytes, max_body_bytes;
    uint64_t request_ms;          /* for the whole request to arrive; after that: 408 */
    uint64_t keep_alive_ms;       /* for the next request to begin; 0: one request a connection */
    uint32_t keep_alive_requests; /* on one connection; 0: no limit */
    uint64_t half_closed_ms;      /* for the response to a client that has ended its direction */
    uint64_t send_ms;             /* within which a client must take some bytes of its response */
    size_t min_send_rate;         /* bytes a second that it must take on average */
    struct admission *admission;  /* borrowed; NULL: nothing is counted */
    struct refusals *refusals;    /* borrowed; NULL: none are counted by reason */
    /* For TLS, except on Unix sockets; NULL: no TLS. The server takes a reference. */
    struct tls_server *tls;
    /* The peers that may name the client; borrowed until the next change. NULL: none. */
    const struct trusted_proxies *proxies;
    enum forwarded_header forwarded_header; /* of their requests, which one counts */
    bool proxy_protocol;                    /* their connections begin with a PROXY header */
    /* To and from the HTTP servers of other workers; borrowed. NULL: there are none. */
    struct handoffs *handoffs;
    unsigned worker; /* the number of the server's own one */
};

/* Counts in `stats`, which is borrowed. */
struct http_server *http_server_new(uv_loop_t *loop, struct transport *transport,
                                    struct stats *stats, const struct http_options *options);
/* Sets the handlers, before the first connection is accepted. Without a handler of handshakes, the
 * server answers them with 404. */
void http_server_on_request(struct http_server *server, http_request_fn on_request, void *user);
void http_server_on_handshake(struct http_server *server, http_handshake_fn on_handshake,
                              void *user);
/* A handshake arrives while limits.connections is reached. Returns the place that admits its socket
 * nevertheless; NULL: none, it is refused. */
typedef struct session_place *(*http_full_fn)(void *user, const struct request *request);
void http_server_on_full(struct http_server *server, http_full_fn on_full, void *user);
/* Closes the handles. All streams must be closed and the loop must run once before
 * http_server_free(). */
void http_server_close(struct http_server *server);
void http_server_free(struct http_server *server); /* accepts NULL */

/* Sets options for connections that are accepted from now on. Older ones answer one more request.
 */
void http_server_change(struct http_server *server, const struct http_options *options);

/* Takes over an accepted socket. `remote` is the peer's numeric address, or "unix". */
void http_accept(struct http_server *server, int fd, const char *remote);

/* Closes the connection that has waited for its next request for the longest time, of any worker's.
 */
void http_server_make_room(struct http_server *server);
/* Connections. */
uint32_t http_server_count(const struct http_server *server);
/* From now on each response is the last one of its connection. Closes those that wait for another
 * request. */
void http_server_end_keep_alive(struct http_server *server);
/* The same, and closes the connections that have not begun their first request. */
void http_server_drain(struct http_server *server);
void http_server_kill_all(struct http_server *server);

/* The number of the present request; no other request has it. */
uint64_t http_number(const struct http *http);
/* NULL: the request has its response, or its client is gone. */
struct http *http_find(struct http_server *server, uint64_t number);
/* The client's numeric address, or "unix": of a trusted proxy's client, as far as it is known. */
const char *http_remote(const struct http *http);
/* Does the client use TLS, towards this server or towards a trusted proxy that says so? */
bool http_is_secure(const struct http *http);
/* The host that the client has asked for, as a trusted proxy says; empty: none says it. Points into
 * the request. */
struct slice http_forwarded_host(const struct http *http);

/* Answers. `headers` are whole "Name: value\r\n" lines or NULL; without a Content-Type among them
 * the body is text/plain. A header that could break the response is left out and logged. */
void http_respond(struct http *http, int status, const char *headers, const char *body, size_t len);
/* Refuses the request: the body is response_refusal()'s, and the log says why. */
void http_respond_refusal(struct http *http, int status, const char *headers, const char *why);
/* Answers with a short text. */
void http_respond_text(struct http *http, int status, const char *headers, const char *text);
/* Makes the next response a refusal for the log; NULL: it is none. `why` is borrowed until then. */
void http_note_refusal(struct http *http, const char *why);
/* What the next refusal is counted as; NULL: the name of its status. Borrowed until then. */
void http_set_reason(struct http *http, const char *reason);
/* Logs the request with the status of its response, or with the reason of its refusal.
 * http_respond… call it themselves. */
void http_log(const struct http *http, int status);
/* Answers with a file below `folder`; `path` is the request's path below the mount. Returns 0, the
 * errno with which the folder itself could not be opened, or -1 when it was not tried. The client
 * gets a response in each case. */
int http_respond_file(struct http *http, const char *folder, const char *path);

/* For the handler of handshakes: keeps the request and the bytes behind it, until http_go_on() lets
 * the handler be called with them again. False: the bytes are over a limit, and the request is
 * refused. */
bool http_hold(struct http *http, const char *ahead, size_t len);
/* Was it held? */
bool http_was_held(const struct http *http);
/* The handler is called soon. Does nothing for a request that is not held. */
void http_go_on(struct http *http);

/* For the handler of handshakes: may the connection be passed to another worker? */
bool http_can_pass(const struct http *http);
/* Passes it there with the request and the bytes behind it: the handler of that worker is called
 * with them, as if the socket had been accepted there. When that worker takes no more, or the bytes
 * are over a limit, the request is refused. */
void http_pass(struct http *http, unsigned worker, const char *ahead, size_t len);

/* To take the stream away: set its new owner, take the permit, then detach, which frees the
 * connection and the request. */
struct stream *http_stream(const struct http *http);
struct permit http_take_permit(struct http *http);
/* The same for what http_server_on_full() has returned; NULL: nothing. */
struct session_place *http_take_place(struct http *http);
void http_detach(struct http *http);

#endif
