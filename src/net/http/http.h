/* http.h -- the first conversation on an accepted socket: one HTTP request and its answer.
 *
 * Reads the head (and the body of plain requests) within a time and a size, hands the checked
 * request to a handler, writes what the handler answers and ends the connection: one request each,
 * always "Connection: close". A handler may take the stream away instead (a WebSocket). Knows no
 * scripts and no WebSocket beyond asking whether one is wanted. Everything on the worker's thread.
 * */
#ifndef TIDEWIRE_NET_HTTP_HTTP_H
#define TIDEWIRE_NET_HTTP_HTTP_H

#include "core/bus/stats.h"
#include "net/http/request.h"
#include "net/socket/admission.h"
#include "net/socket/transport.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
/* One request and its answer. */
struct http;

/* A whole plain request; `body` is NULL where there is none. Answers with http_respond… now, or
 * later by http_find(). The request and body are gone with the answer. */
typedef void (*http_request_fn)(void *user, struct http *http, const struct request *request,
                                char *body, size_t body_len);
/* A request that asks for a WebSocket; `ahead` are bytes behind it. Answers, or takes the stream.
 * */
typedef void (*http_handshake_fn)(void *user, struct http *http, const struct request *request,
                                  char *ahead, size_t ahead_len);

struct http_options {
    size_t max_head_bytes, max_body_bytes;
    uint64_t request_ms;         /* for the whole request to arrive; over it: 408 */
    uint64_t half_closed_ms;     /* for the answer to a client that has ended its direction */
    uint64_t send_ms;            /* in which a client must take something of its answer */
    size_t min_send_rate;        /* so many bytes a second at least */
    struct admission *admission; /* borrowed; NULL: nobody is counted */
    struct certificate
        *certificate; /* for TLS, but on Unix sockets; NULL: in plain. A reference is taken */
};

/* Counts in `stats`, which is borrowed. */
struct http_server *http_server_new(uv_loop_t *loop, struct transport *transport,
                                    struct stats *stats, const struct http_options *options);
/* Who takes the requests: before the first is accepted. Those that ask for a WebSocket are refused
 * where nobody takes them. */
void http_server_on_request(struct http_server *server, http_request_fn on_request, void *user);
void http_server_on_handshake(struct http_server *server, http_handshake_fn on_handshake,
                              void *user);
/* Stops its timer. Then all streams must be closed and the loop must run once before
 * http_server_free(). */
void http_server_close(struct http_server *server);
void http_server_free(struct http_server *server); /* accepts NULL */

/* Other limits, for conversations that begin from now on. */
void http_server_change(struct http_server *server, const struct http_options *options);

/* A connection was accepted. Takes over `fd`; `remote` is who it is, a numeric address. */
void http_accept(struct http_server *server, int fd, const char *remote);

/* Conversations under way. */
uint32_t http_server_count(const struct http_server *server);
/* Is there one whose request is not whole yet? */
bool http_server_is_reading(const struct http_server *server);
/* Ends those that have not begun a request; the others get their answer. */
void http_server_drain(struct http_server *server);
void http_server_kill_all(struct http_server *server);

uint64_t http_number(const struct http *http);
/* NULL: the client has gone. */
struct http *http_find(struct http_server *server, uint64_t number);
const char *http_remote(const struct http *http);

/* Answers. `headers` are whole "Name: value\r\n" lines or NULL; without a Content-Type among them
 * the body is text/plain. A header that could break the response is left out and logged. */
void http_respond(struct http *http, int status, const char *headers, const char *body, size_t len);
/* Refuses, with the body of all refusals (response_refusal). */
void http_respond_refusal(struct http *http, int status, const char *headers, const char *why);
/* The same with a short text. */
void http_respond_text(struct http *http, int status, const char *headers, const char *text);
/* What is answered next is a refusal, of which the log says why; NULL: it is not. `why` is borrowed
 * until then. */
void http_note_refusal(struct http *http, const char *why);
/* One line of the log for the request and its answer, or its refusal; http_respond… does so by
 * itself. */
void http_log(const struct http *http, int status);
/* Answers with a file below `folder`. `path` is the request's path below the mount. Returns 0, or
 * the errno that says why the folder itself could not be opened, or -1 where that was not tried; it
 * is answered all the same. */
int http_respond_file(struct http *http, const char *folder, const char *path);

/* For taking the stream away: give it to its new owner, and its permit, then let go of the
 * conversation, which frees it and what it had read. */
struct stream *http_stream(const struct http *http);
struct permit http_take_permit(struct http *http);
void http_detach(struct http *http);

#endif
